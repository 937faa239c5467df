"""What every test with a browser carries."""

from __future__ import annotations

import pytest

E2E = [pytest.mark.e2e, pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="session")]
