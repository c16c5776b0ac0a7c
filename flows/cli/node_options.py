"""The options of `train` and `finetune` about training on several machines."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.errors import ConfigError
from flows.cli.corpus_options import spread
from flows.cli.options import TRAINING

if TYPE_CHECKING:
    from charlm.config import NodesConfig


@dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """Which machines train together, and which of them this one is."""

    num_nodes: Annotated[int, typer.Option(help="Machines that train together.", rich_help_panel=TRAINING)] = 1
    node_rank: Annotated[
        int, typer.Option(help="Number of this machine, from 0; machine 0 registers.", rich_help_panel=TRAINING)
    ] = 0
    rendezvous: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Address of machine 0, where they meet.", rich_help_panel=TRAINING),
    ] = None

    def config(self) -> "NodesConfig":
        """Raises ConfigError for a rank out of range, or several nodes that have no place to meet."""
        from charlm.config import NodesConfig

        return NodesConfig(num_nodes=self.num_nodes, node_rank=self.node_rank, rendezvous=self.rendezvous)

    def check_one(self, name: str) -> None:
        """Raise ConfigError for a pipeline on several machines: all of it but the training is the work of one."""
        if self.config().num_nodes > 1:
            raise ConfigError(
                f"charlm run works on one machine: prepare the text with charlm prepare, and then give all nodes "
                f"charlm train {name} --num-nodes {self.num_nodes} --node-rank … --rendezvous {self.rendezvous}"
            )


ONE_NODE = NodeOptions()


def with_nodes(command: Callable[..., None]) -> Callable[..., None]:
    """`command`, whose parameter `nodes: NodeOptions` is an option for each of its fields on the command line."""
    return spread(command, NodeOptions)
