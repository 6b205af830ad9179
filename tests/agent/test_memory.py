"""What is freed goes back to the kernel. In processes of their own: an allocator is set up for a whole life."""

import subprocess
import sys

BLOCKS, BLOCK_BYTES = 16, 4 << 20
# As outputs do it: small things stay in between the large ones that go. The first block raises glibc's own threshold.
FREED = f"""
import psutil
from runner_agent.memory import give_back, map_large_blocks

def resident():
    return psutil.Process().memory_info().rss

def used_and_freed():
    bytearray({BLOCKS * BLOCK_BYTES // 4})
    large, small = [], []
    for _ in range({BLOCKS}):
        large.append(bytearray({BLOCK_BYTES}))
        small.append(bytearray(2000))
    return small
"""
LARGE = """
map_large_blocks()
before, small = resident(), used_and_freed()
print(resident() - before)
"""
CYCLE = f"""
class Knot:
    def __init__(self):
        self.me, self.body = self, bytearray({BLOCK_BYTES})

map_large_blocks()
before = resident()
for _ in range({BLOCKS}):
    Knot()
give_back()
print(resident() - before)
"""


def grown(script: str) -> int:
    """By how many bytes a process has grown over the script."""
    command = [sys.executable, "-c", FREED + script]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


def test_large_blocks_go_back_when_they_are_freed_whatever_small_ones_stay() -> None:
    assert grown(LARGE) < BLOCK_BYTES


def test_what_only_cycles_hold_goes_back_too() -> None:
    assert grown(CYCLE) < BLOCK_BYTES
