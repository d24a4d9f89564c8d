"""Runs tests that are functions and prints as libtest does with --show-output, so that one reader in xtask takes both.

In: functions, whose names are sentences about behaviour. Out: exit status 1 if one failed. A test that cannot run here raises
audit.NotAvailable and counts as skipped.
"""

import traceback

from audit import NotAvailable


def run(tests, arguments, only=None):
    """Runs each with `arguments`; True if none failed."""
    chosen = [test for test in tests if not only or only in test.__name__]
    print(f"\nrunning {len(chosen)} tests", flush=True)
    failed, skipped = {}, {}
    for test in chosen:
        said = "ok"
        try:
            test(*arguments)
        except NotAvailable as reason:
            skipped[test.__name__] = f"SKIPPED: {reason}"
        except Exception:  # noqa: BLE001: whatever goes wrong is this test's failure
            failed[test.__name__] = traceback.format_exc()
            said = "FAILED"
        print(f"test {test.__name__} ... {said}", flush=True)
    for title, outputs in (("successes:", skipped), ("failures:", failed)):
        if outputs:
            print(f"\n{title}\n")
            for name, output in outputs.items():
                print(f"---- {name} stdout ----\n{output}\n")
    verdict = "FAILED" if failed else "ok"
    print(f"test result: {verdict}. {len(chosen) - len(failed)} passed; {len(failed)} failed; 0 ignored; 0 measured; 0 filtered out")
    return not failed
