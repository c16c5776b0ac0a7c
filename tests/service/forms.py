"""Prefect's forms in a real browser, filled as a person does it: with mouse and keyboard."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.browser import Page
from tests.live_service import LiveService
from tests.service.looking import deployment

_FIELD = """
[...document.querySelectorAll('.schema-form-property')].find(field =>
  field.querySelector('.schema-form-property__label')?.textContent.split(' ')[0] === %s)?.querySelector(%s)
"""


class Form:
    """The fields of a form that is open in a page."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def choose(self, field: str, value: str) -> None:
        """Take one of the values that a field offers."""
        self._page.click(_FIELD % (json.dumps(field), "'.p-select'"))
        chosen, offered = self._page.run(
            "[document.activeElement.selectedIndex, [...document.activeElement.options].map(one => one.value)]"
        )
        for _ in range(offered.index(value) - chosen):
            self._page.press("ArrowDown")
        self._page.press("Enter")

    def write(self, field: str, text: str) -> None:
        """Enter text into an empty field."""
        self._page.click(_FIELD % (json.dumps(field), "'textarea, input'"))
        self._page.write(text)


def open_form(page: Page, service: LiveService, name: str) -> Form:
    """The form of a deployment."""
    page.open(f"{_address(service)}/deployments/deployment/{deployment(service, name).id}/run")
    page.wait_for_text("Validate parameters")
    return Form(page)


def submit(page: Page) -> str:
    """Send the form of a deployment; the id of the run that it starts."""
    page.click_text("Submit")
    page.click_text("View run")
    page.wait_for_text("Task Runs")
    return str(page.run("location.pathname")).rpartition("/")[2]


def offered(service: LiveService, name: str) -> list[str]:
    """The corpora that the form of a deployment for any corpus offers."""
    kinds = deployment(service, name).parameter_openapi_schema["properties"]["name"]["anyOf"]
    return [value for kind in kinds for value in kind.get("enum", [])]


@contextmanager
def answering(page: Page, service: LiveService, run: str) -> Iterator[Form]:
    """The form of a run that waits for a person; it is sent at the end of the block."""
    page.open(f"{_address(service)}/runs/flow-run/{run}")
    page.click_text("Resume")
    page.wait_for_text("become the champion?")
    yield Form(page)
    page.click_text("Submit")


def _address(service: LiveService) -> str:
    return service.addresses["PREFECT_API_URL"].removesuffix("/api")
