"""Where a training runs when several machines share it."""

from dataclasses import dataclass

from charlm.config.json_config import JsonConfig
from charlm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class NodesConfig(JsonConfig):
    """The place of this machine, a node, among those that train one model."""

    num_nodes: int = 1
    """Machines that train together."""

    node_rank: int = 0
    """Number of this machine among them, from 0. The first one validates, writes the files and registers."""

    rendezvous: str | None = None
    """`HOST:PORT` of node 0, where all nodes meet; none for a single node."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_nodes < 1:
            raise ConfigError(f"the number of nodes must be at least 1, got {self.num_nodes}")
        if not 0 <= self.node_rank < self.num_nodes:
            raise ConfigError(
                f"node rank {self.node_rank} is not one of {self.num_nodes} nodes, which count from 0 to "
                f"{self.num_nodes - 1}; check --num-nodes and --node-rank"
            )
        if self.num_nodes > 1 and self.rendezvous is None:
            raise ConfigError(f"{self.num_nodes} nodes need a place to meet: --rendezvous HOST:PORT of node 0")
        if self.rendezvous is not None:
            if self.num_nodes == 1:
                raise ConfigError(f"--rendezvous {self.rendezvous} is for several nodes; give --num-nodes too")
            _split(self.rendezvous)

    @property
    def is_first(self) -> bool:
        return self.node_rank == 0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the rendezvous."""
        assert self.rendezvous is not None
        return _split(self.rendezvous)


ONE_NODE = NodesConfig()


def _split(text: str) -> tuple[str, int]:
    """`"head:29500"` -> `("head", 29500)`; an IPv6 address is in brackets."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigError(
            f"--rendezvous is HOST:PORT with a port from 1 to 65535, such as 10.0.0.1:29500; got {text!r}"
        )
    return host, int(port)
