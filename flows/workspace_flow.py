"""The decorator of our flows: a Prefect flow that opens its workspace before its run begins.

A worker and the command line set Prefect up before they call a flow. A flow that a program of the user calls would
otherwise use the server of the user's own Prefect profile, because Prefect reads its settings when
it is imported, and creates the flow run on its server before the body of the flow starts.
"""

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Flow
from prefect.context import FlowRunContext

from tasks.services.session import Session

P = ParamSpec("P")
R = TypeVar("R")


class WorkspaceFlow(Flow[P, R]):
    """A flow with a parameter `workspace`, the folder whose Prefect settings its runs use."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # as overloaded by Flow, which types the calls
        if FlowRunContext.get() is None:
            signature = inspect.signature(self.fn)
            given = {name: value for name, value in kwargs.items() if name in signature.parameters}
            arguments = signature.bind_partial(*args, **given)
            arguments.apply_defaults()
            Session.open(arguments.arguments["workspace"]).start_prefect()
        return super().__call__(*args, **kwargs)


def flow(*, name: str, flow_run_name: str | Callable[[], str]) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a flow of a function with the parameter `workspace`."""

    def decorate(function: Callable[P, R]) -> Flow[P, R]:
        return WorkspaceFlow(function, name=name, flow_run_name=flow_run_name)

    return decorate
