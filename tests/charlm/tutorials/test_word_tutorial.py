"""GluonNLP's tutorial on word language models, to its last line, with charlm.word for gluonnlp and torch for mxnet.

Smaller, on text made here in the place of WikiText-2 and Sherlock Holmes. Comments name the lines that were mxnet's.
"""

# The program keeps the tutorial's style.
# ruff: noqa: B007, B905, E741, N806, PTH207, SIM108, UP031, UP032

import random
from pathlib import Path

import pytest
import torch

from tests.labelled_data import write_novel

pytestmark = pytest.mark.numeric


@pytest.fixture(autouse=True)
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tutorial downloads, in the cache and in the folder where it runs."""
    torch.set_num_threads(1)
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    wikitext = tmp_path / "cache" / "datasets" / "wikitext-2"
    wikitext.mkdir(parents=True)
    choose = random.Random(1)
    for segment, num_lines in (("train", 260), ("valid", 70), ("test", 70)):
        write_novel(wikitext / f"wiki.{segment}.tokens", choose, num_lines=num_lines, blank_lines=True)
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    for name, num_lines in (("train", 160), ("valid", 70), ("test", 70)):
        write_novel(Path(f"sherlockholmes.{name}.txt"), choose, num_lines=num_lines, blank_lines=False)


def test_the_tutorial_runs_to_its_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    warnings.filterwarnings("ignore")

    import glob
    import math
    import time

    import torch  # mx
    from torch import nn  # gluon

    import charlm.word as nlp

    torch.manual_seed(1)
    num_gpus = 0
    context = (
        [torch.device("cuda", i) for i in range(num_gpus)] if num_gpus else [torch.device("cpu")]
    )  # mx.gpu, mx.cpu
    log_interval = 20

    batch_size = 4 * len(context)
    lr = 20
    epochs = 3
    bptt = 10
    grad_clip = 0.25

    # ---- Loading the dataset

    dataset_name = "wikitext-2"

    train_dataset, val_dataset, test_dataset = [
        nlp.data.WikiText2(segment=segment, bos=None, eos="<eos>", skip_empty=False)
        for segment in ["train", "val", "test"]
    ]

    vocab = nlp.Vocab(nlp.data.Counter(train_dataset), padding_token=None, bos_token=None)

    bptt_batchify = nlp.data.batchify.CorpusBPTTBatchify(vocab, bptt, batch_size, last_batch="discard")
    train_data, val_data, test_data = [bptt_batchify(x) for x in [train_dataset, val_dataset, test_dataset]]

    model_name = "standard_lstm_lm_200"
    model, vocab = nlp.model.get_model(model_name, vocab=vocab, dataset_name=None)
    print(model)
    print(vocab)

    for weights in model.parameters():  # model.initialize(mx.init.Xavier(), ctx=context)
        if weights.dim() > 1 and weights is not model.lm.encoder.weight:
            nn.init.xavier_uniform_(weights)

    trainer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0, weight_decay=0)  # gluon.Trainer

    loss = nn.CrossEntropyLoss(reduction="none")  # gluon.loss.SoftmaxCrossEntropyLoss()

    # ---- Training the LM

    def detach(hidden):
        if isinstance(hidden, (tuple, list)):
            hidden = [detach(i) for i in hidden]
        else:
            hidden = hidden.detach()
        return hidden

    @torch.no_grad()  # mxnet records nothing outside of autograd.record()
    def evaluate(model, data_source, batch_size, ctx):
        model.eval()  # likewise, dropout
        total_L = 0.0
        ntotal = 0
        hidden = model.begin_state(batch_size=batch_size, device=ctx)  # func=mx.nd.zeros, ctx=ctx
        for i, (data, target) in enumerate(data_source):
            data = data.to(ctx)  # as_in_context
            target = target.to(ctx)  # as_in_context
            output, hidden = model(data, tuple(hidden))
            hidden = detach(hidden)
            L = loss(output.reshape(-1, output.shape[-1]), target.reshape(-1))  # reshape(-3, -1)
            total_L += torch.sum(L).item()  # mx.nd.sum(L).asscalar()
            ntotal += L.numel()  # L.size
        model.train()
        return total_L / ntotal

    def train(model, train_data, val_data, test_data, epochs, lr):
        best_val = float("Inf")
        start_train_time = time.time()
        parameters = list(model.parameters())  # model.collect_params().values()

        for epoch in range(epochs):
            total_L = 0.0
            start_epoch_time = time.time()
            start_log_interval_time = time.time()
            hiddens = [model.begin_state(batch_size // len(context), device=ctx) for ctx in context]

            for i, (data, target) in enumerate(train_data):
                data_list = nlp.split_and_load(data, context, batch_axis=1, even_split=True)  # gluon.utils
                target_list = nlp.split_and_load(target, context, batch_axis=1, even_split=True)  # gluon.utils
                hiddens = detach(hiddens)
                L = 0
                Ls = []

                trainer.zero_grad()  # with autograd.record():
                for j, (X, y, h) in enumerate(zip(data_list, target_list, hiddens)):
                    output, h = model(X, tuple(h))
                    batch_L = loss(output.reshape(-1, output.shape[-1]), y.reshape(-1))  # reshape(-3, -1)
                    L = L + batch_L.to(context[0]).sum() / (len(context) * X.numel())  # as_in_context, X.size
                    Ls.append(batch_L / (len(context) * X.numel()))  # X.size
                    hiddens[j] = h
                L.backward()
                nn.utils.clip_grad_norm_(parameters, grad_clip)  # gluon.utils.clip_global_norm(grads, grad_clip)

                trainer.step()  # trainer.step(1)

                total_L += sum([torch.sum(l).item() for l in Ls])  # mx.nd.sum(l).asscalar()

                if i % log_interval == 0 and i > 0:
                    cur_L = total_L / log_interval
                    print(
                        "[Epoch %d Batch %d/%d] loss %.2f, ppl %.2f, throughput %.2f samples/s"
                        % (
                            epoch,
                            i,
                            len(train_data),
                            cur_L,
                            math.exp(cur_L),
                            batch_size * log_interval / (time.time() - start_log_interval_time),
                        )
                    )
                    total_L = 0.0
                    start_log_interval_time = time.time()

            print(
                "[Epoch %d] throughput %.2f samples/s"
                % (epoch, len(train_data) * batch_size / (time.time() - start_epoch_time))
            )

            val_L = evaluate(model, val_data, batch_size, context[0])
            print(
                "[Epoch %d] time cost %.2fs, valid loss %.2f, valid ppl %.2f"
                % (epoch, time.time() - start_epoch_time, val_L, math.exp(val_L))
            )

            if val_L < best_val:
                best_val = val_L
                test_L = evaluate(model, test_data, batch_size, context[0])
                model.save_parameters("{}_{}-{}.params".format(model_name, dataset_name, epoch))
                print("test loss %.2f, test ppl %.2f" % (test_L, math.exp(test_L)))
            else:
                lr = lr * 0.25
                print("Learning rate now %f" % (lr))
                trainer.param_groups[0]["lr"] = lr  # trainer.set_learning_rate(lr)

        print(
            "Total training throughput %.2f samples/s"
            % ((batch_size * len(train_data) * epochs) / (time.time() - start_train_time))
        )

    train(model, train_data, val_data, test_data, epochs, lr)

    # ---- Using your own dataset

    print(glob.glob("sherlockholmes.*.txt"))

    moses_tokenizer = nlp.data.SacreMosesTokenizer()

    sherlockholmes_datasets = [
        nlp.data.CorpusDataset(
            "sherlockholmes.{}.txt".format(name),
            sample_splitter=nlp.data.sentences,  # nltk.tokenize.sent_tokenize
            tokenizer=moses_tokenizer,
            flatten=True,
            eos="<eos>",
        )
        for name in ["train", "valid", "test"]
    ]

    sherlockholmes_train_data, sherlockholmes_val_data, sherlockholmes_test_data = [
        bptt_batchify(dataset) for dataset in sherlockholmes_datasets
    ]

    sherlockholmes_L = evaluate(model, sherlockholmes_val_data, batch_size, context[0])
    print("Best validation loss %.2f, test ppl %.2f" % (sherlockholmes_L, math.exp(sherlockholmes_L)))

    train(
        model,
        sherlockholmes_train_data,
        sherlockholmes_val_data,
        sherlockholmes_test_data,
        epochs=3,
        lr=20,
    )

    # ---- not the tutorial's: what it has led to

    shown = capsys.readouterr().out
    assert vocab.idx_to_token[:2] == ["<unk>", "<eos>"]
    assert shown.count("Total training throughput") == 2
    assert shown.count("[Epoch 2] time cost") == 2
    assert Path("standard_lstm_lm_200_wikitext-2-0.params").is_file()
    untrained, _ = nlp.model.get_model(model_name, vocab=vocab)
    first = evaluate(untrained, val_data, batch_size, context[0])
    assert first == pytest.approx(math.log(len(vocab)), abs=0.2)
    assert evaluate(model, test_data, batch_size, context[0]) < first - 0.5
    assert evaluate(model, sherlockholmes_val_data, batch_size, context[0]) < sherlockholmes_L
