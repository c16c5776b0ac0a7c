"""The ids that Flair's own TextDataset and TextCorpus read from prepared corpora.

Run by Flair's interpreter:  python tests/flair/text_ids.py CORPORA OUTPUT.json
Writes  {script: {"forward": {file: "ids …"}, "backward": …}}   what tests/golden/text_ids.json is a copy of.

CORPORA holds a prepared corpus for each of TEXTS. Our tests import this module for them; Flair is imported only when
the script runs.
"""

import json
import sys
from pathlib import Path

# A few plain sentences in each script, with what text files bring along: blank lines, Windows and lone carriage
# returns, tabs, soft hyphens, joiners, combining accents, a line separator, and characters too rare for the dictionary.
TEXTS = {
    "latin": (
        "The river was high that morning.\nNobody crossed the old bridge.\n\nÜber Nacht fiel Schnee.\r\n"
        "Die Straße war weiß, und groß war die Stille.\nLe garçon a mangé une pêche à midi.\n\tIndented: 1, 2, 3.\n"
        "Señor Núñez llegó mañana.\rCafe\u0301 with a combining accent.\nsoft\u00adhyphen and ﬁ ligature\n\n\n"
        "Zażółć gęślą jaźń.\nA line\u2028with a separator.\nThe last line ends here."
    ),
    "japanese": (
        "吾輩は猫である。\n名前はまだ無い。\n\nどこで生れたかとんと見当がつかぬ。\n川の水はつめたかった。\r\n"
        "カタカナとひらがなと漢字。\n　全角の空白で始まる行。\n「はい」と彼は言った。\n東京都に雨が降る。\n"
        "ﾊﾝｶｸもある。\n山の上に月が出た。\nか\u3099は濁点。\n終わり。\n"
    ),
    "arabic": (
        "كان الصباح باردا.\nلم يعبر أحد الجسر القديم.\n\nقال الرجل: نعم!\nالكِتَابُ على الطاولة.\r\n"
        "این کتاب را می\u200cخوانم.\nیک، دو، سه: ۱۲۳.\nالسلام عليكم\n\u200fسطر بعلامة اتجاه\n"
        "والعدد ٤٥٦ كبير.\nاردو میں بھی لکھتے ہیں۔\nالنهاية.\n"
    ),
    "hindi": (
        "सुबह बहुत ठंडी थी।\nपुल पर कोई नहीं था।\n\nक्षत्रिय और ज्ञान शब्द हैं।\nउसने कहा: हाँ!\r\n"
        "एक, दो, तीन: १२३।\nक्\u200dष में जोड़ है।\nनदी का पानी ऊँचा था।\nलड़का आम खाता है।\nफ़िल्म और ज़मीन।\n"
        "बारिश हो रही है।\nअंत।\n"
    ),
    "russian": (
        "Утро было холодное.\nНикто не перешёл старый мост.\n\nСнег шёл всю ночь.\nОна сказала: «Да!»\r\n"
        "Объём — это важно.\nМальчик съел яблоко.\nВсё, что было, прошло…\nІ ще кілька слів: ґанок, їжак.\n"
        "Число 42 и буква ѣ.\nРека поднялась высоко.\nКонец.\n"
    ),
    "mixed": (
        "Ελληνικά: ΟΔΟΣ και οδός.\nEmoji: 😀 👩\u200d🚀 🇩🇪.\n\nкод = code; 値 = 42 €\nעברית ו-English ביחד.\r\n"
        "x² + y² ≤ 1 → ∅\n한국어와 中文 together.\nไทย ไม่มีช่องว่าง\nİstanbul'da ılık ığdır.\n"
        "NUL\0and\x0bvertical tab\nplane 2: 𠮷野家\n\ufeffmark in the middle\nend\n"
    ),
}


def main(corpora: Path, output: Path) -> None:
    from flair.data import Dictionary
    from flair.trainers.language_model_trainer import TextCorpus, TextDataset

    found: dict[str, dict[str, dict[str, str]]] = {}
    for script in TEXTS:
        root = corpora / script
        dictionary = Dictionary.load_from_file(root / "dictionary" / "char_mappings")
        found[script] = {}
        for direction in ("forward", "backward"):
            is_forward = direction == "forward"
            corpus = TextCorpus(root, dictionary, is_forward, character_level=True, random_case_flip=False)
            train = TextDataset(root / "train", dictionary, False, is_forward, random_case_flip=False, shuffle=False)
            ids = {file.name: train[number] for number, file in enumerate(train.files)}
            ids |= {"valid": corpus.valid, "test": corpus.test}
            found[script][direction] = {name: " ".join(map(str, tensor.tolist())) for name, tensor in ids.items()}
    output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
