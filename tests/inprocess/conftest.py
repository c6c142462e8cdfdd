import pytest

pytest.register_assert_rewrite("tests.inprocess.world", "tests.inprocess.scripted_loop")
