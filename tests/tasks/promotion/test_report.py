"""The gate's report as people read it."""

from charlm.evaluation.promotion import DomainComparison, GateReport
from tasks.promotion.report import gate_markdown

REPORT = GateReport(
    decision="refused",
    reason="refused: <unk> makes up 2.000% of the domain news, more than 1.000%",
    target="news",
    domains={
        "books": DomainComparison(documents=1_200, bits_per_byte=1.5, unk_rate=0.0),
        "news": DomainComparison(
            documents=30,
            bits_per_byte=1.75,
            unk_rate=0.02,
            champion_bits_per_byte=1.8,
            improvement=0.05,
            interval=(-0.01, 0.11),
        ),
    },
    perplexities={"forward": 3.5, "backward": 3.25},
)


def test_the_markdown_names_the_reason_and_every_domain_and_hides_no_unknown_characters() -> None:
    assert gate_markdown(REPORT).splitlines() == [
        "**Refused**: &lt;unk&gt; makes up 2.000% of the domain news, more than 1.000%.",
        "",
        "| domain | bits/byte | champion | improvement | interval | documents | &lt;unk&gt; |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| books | 1.5000 | – | – | – | 1,200 | 0.000% |",
        "| news (target) | 1.7500 | 1.8000 | +0.0500 | -0.0100 to +0.1100 | 30 | 2.000% |",
        "",
        "Perplexity: forward 3.500, backward 3.250. Required: 0.002 better on the target, elsewhere at most 0.02"
        " worse; intervals at 95%, by bootstrap over documents.",
    ]
