"""Where the files of the prepared corpora are published, and their SHA-256: what is fetched is what others trained on.

Addresses name a release or a commit where there is one. The digests are those that the library `datasets` recorded when
it fetched the same files (its dataset_infos.json of universal_dependencies, wnut_17 and trec).
"""

UNIVERSAL_DEPENDENCIES = "https://raw.githubusercontent.com/UniversalDependencies"
WNUT = "https://raw.githubusercontent.com/leondz/emerging_entities_17/e52a2d2a71ac1a051ca2d532eef28653c5c02603"
TREC = "https://cogcomp.seas.upenn.edu/Data/QA/QC"

UD_RELEASE = "r2.7"
"""The release of Universal Dependencies that is fetched where no other is named."""

SHA256 = {
    f"{UNIVERSAL_DEPENDENCIES}/UD_English-EWT/r2.7/en_ewt-ud-train.conllu": (
        "4e45f7b6f6d4e8d33e0ba7090fc37f2385a91711edb20d456d3fb5f45ac0fc28"
    ),
    f"{UNIVERSAL_DEPENDENCIES}/UD_English-EWT/r2.7/en_ewt-ud-dev.conllu": (
        "57703dcd3b04c32dda6cb7c2a9d836daf65c2b9141a670163693d230b46559c8"
    ),
    f"{UNIVERSAL_DEPENDENCIES}/UD_English-EWT/r2.7/en_ewt-ud-test.conllu": (
        "25ef2d6fe772b8f05be374e093693f14284ccdd870fc27a9295f7e5a0fc3253a"
    ),
    f"{UNIVERSAL_DEPENDENCIES}/UD_German-GSD/r2.7/de_gsd-ud-train.conllu": (
        "7f04925f806a93ec00620631131fcdeb44aca239f8bcc732a29c53560bb8548f"
    ),
    f"{UNIVERSAL_DEPENDENCIES}/UD_German-GSD/r2.7/de_gsd-ud-dev.conllu": (
        "26e994f0403f6de43a22302fd0f632408e32b95b05cf9318d049d51d0c98fbbf"
    ),
    f"{UNIVERSAL_DEPENDENCIES}/UD_German-GSD/r2.7/de_gsd-ud-test.conllu": (
        "1f04a5a571ef31b7b739d1cdb05ceb2db782c4ad9bbf46672f608caccf349403"
    ),
    f"{WNUT}/wnut17train.conll": "731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5",
    f"{WNUT}/emerging.dev.conll": "e053b752b8155113ca66e7db08af5f2f5f43ab993694e4774f1ec5bad42312d8",
    f"{WNUT}/emerging.test.annotated": "2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0",
    f"{TREC}/train_5500.label": "9e4c8bdcaffb96ed61041bd64b564183d52793a8e91d84fc3a8646885f466ec3",
    f"{TREC}/TREC_10.label": "033f22c028c2bbba9ca682f68ffe204dc1aa6e1cf35dd6207f2d4ca67f0d0e8e",
}
"""By the address of the file."""
