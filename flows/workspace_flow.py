"""The decorator of our flows: a Prefect flow that opens its workspace before its run begins, and ends with a sentence.

A worker and the command line set Prefect up before they call a flow. A flow that a program of the user calls would
otherwise use the server of the user's own Prefect profile, because Prefect reads its settings when
it is imported, and creates the flow run on its server before the body of the flow starts.

The sentence is the message of the final state, which Prefect also writes as the last line of the log. Of a mistake of
the user it is the error; its traceback would tell nothing more.
"""

import inspect
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Flow
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed
from prefect.utilities.callables import parameter_schema

from charlm.errors import CharLMError
from flows.parameters import EXPERT
from tasks.services.prefect_compat import log_without_traceback
from tasks.services.session import Session

P = ParamSpec("P")
R = TypeVar("R")


class WorkspaceFlow(Flow[P, R]):
    """A flow with a parameter `workspace`, the folder whose Prefect settings its runs use.

    The form of its deployments shows what most people give first, and the settings of experts last.
    """

    def __init__(self, fn: Callable[P, R], *, name: str, flow_run_name: str | Callable[[], str]) -> None:
        super().__init__(fn, name=name, flow_run_name=flow_run_name)
        # Prefect makes the form from the signature and the docstring of the flow, and calls `fn`.
        signature = inspect.signature(fn)
        in_form = sorted(signature.parameters.values(), key=lambda parameter: EXPERT.get(parameter.name, -1))
        self.__signature__ = signature.replace(parameters=in_form)
        self.__doc__ = _paragraphs(inspect.getdoc(fn) or "")
        self.parameters = parameter_schema(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # as overloaded by Flow, which types the calls
        if FlowRunContext.get() is None:
            signature = inspect.signature(self.fn)
            given = {name: value for name, value in kwargs.items() if name in signature.parameters}
            arguments = signature.bind_partial(*args, **given)
            arguments.apply_defaults()
            Session.open(arguments.arguments["workspace"]).start_prefect()
        return super().__call__(*args, **kwargs)

    def in_this_run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the flow does as part of the run that calls it: its steps, log and artifacts are on that run's page."""
        return cast(R, inspect.unwrap(self.fn)(*args, **kwargs))


def _paragraphs(docstring: str) -> str:
    """`docstring` with each argument on one line: the form shows the ends of lines."""
    return re.sub(r"\n {8,}(?=\S)", " ", docstring)


def flow(
    *, name: str, flow_run_name: str | Callable[[], str], closing: Callable[[Any], str] | None = None
) -> Callable[[Callable[P, R]], WorkspaceFlow[P, R]]:
    """Make a flow of a function with the parameter `workspace`.

    `closing` makes the closing sentence of its result; a function without one returns a state that has a message.
    """

    def decorate(function: Callable[P, R]) -> WorkspaceFlow[P, R]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            log_without_traceback(CharLMError)
            try:
                result = function(*args, **kwargs)
            except CharLMError as error:
                # Who calls the flow gets the error, as Prefect raises it from the state.
                return cast(R, Failed(message=str(error), data=error))
            return result if closing is None else cast(R, Completed(message=closing(result), data=result))

        return WorkspaceFlow(run, name=name, flow_run_name=flow_run_name)

    return decorate
