"""cmpfc.py LEFT RIGHT: Python's filecmp, by content.

Exit 0 when two files or two trees are equal, 1 when they differ. Trees need Python 3.13: before it,
dircmp looks at size and time only.
"""

import filecmp
import os
import sys


def same_tree(comparison):
    if comparison.left_only or comparison.right_only:
        return False
    if comparison.diff_files or comparison.funny_files or comparison.common_funny:
        return False
    return all(same_tree(below) for below in comparison.subdirs.values())


left, right = sys.argv[1:3]
if not os.path.isdir(left):
    equal = filecmp.cmp(left, right, shallow=False)
elif sys.version_info >= (3, 13):
    equal = same_tree(filecmp.dircmp(left, right, ignore=[], hide=[], shallow=False))
else:
    print("cmpfc.py: trees need Python 3.13", file=sys.stderr)
    sys.exit(2)
# Without the interpreter's clean-up, as a program in another language would end.
os._exit(0 if equal else 1)
