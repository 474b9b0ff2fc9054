"""What fuzzing has found in the product, each as a test of its own."""

from __future__ import annotations

import json

import pytest

from tests.support.desk_world import DeskWorld


@pytest.mark.parametrize("action", [[], {}, [["BUY"]], None, 7, True])
@pytest.mark.parametrize("more", [{}, {"order_id": "ORD_1"}, {"uuid": "a-1"}])
def test_an_action_that_is_no_text_is_refused_and_the_gateway_goes_on(
    action: object, more: dict[str, str]
) -> None:
    """`{"action":[]}` ended the thread that serves the terminal."""
    world = DeskWorld()
    refused = json.loads(world.desk.handle(json.dumps({"action": action, **more}).encode()))
    assert refused["status"].upper() in ("ERROR", "REJECTED")
    assert world.sync().status.value == "SUCCESS"
