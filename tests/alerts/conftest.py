"""Real receivers, each in a thread: for messages by HTTP and by SMTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.receivers import Received, http_receiver, smtp_receiver


@pytest.fixture
def phone() -> Iterator[Received]:
    """A receiver by HTTP."""
    with http_receiver() as received:
        yield received


@pytest.fixture
def mailbox() -> Iterator[Received]:
    """A receiver by SMTP."""
    with smtp_receiver() as received:
        yield received
