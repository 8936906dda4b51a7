#!/usr/bin/env python3
"""Replays recorded exchanges with Kubernetes against this tree's server, and fails when a case that once passed fails.

usage: check.py REPLAY [--update] [--program PATH]

REPLAY is the replayer (`replay.py`), beside whose `cases/` it stands. The cases that must pass are listed in
`passing.txt`, which only grows: with --update, cases that pass and are not listed yet are added. The server is an API
server with the controllers, each a process of its own, with a store that is thrown away.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
PASSING = HERE / 'passing.txt'


def wait_for(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f'{what} did not come within {seconds} s')
        time.sleep(0.02)


def replay(replayer, program, *attempts):
    """Starts a server, makes the attempts (arguments of the replayer) on it in turn, and says what the replayer said."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        kubeconfig = folder / 'kubeconfig'
        server = [program, 'apiserver', '--data-dir', folder, '--listen', '127.0.0.1:0']
        controllers = [program, 'controller-manager', '--kubeconfig', folder / 'pki/controller-manager.kubeconfig']
        parts = [subprocess.Popen(server, stdout=subprocess.PIPE, text=True)]
        try:
            # It says where it is once it answers.
            if not parts[0].stdout.readline():
                sys.exit('the API server did not start')
            wait_for('the kubeconfig', kubeconfig.exists)
            parts.append(subprocess.Popen(controllers, stdout=subprocess.DEVNULL))
            replayed = [sys.executable, replayer, '--kubeconfig', kubeconfig, '-v']
            return [subprocess.run(replayed + more, stdout=subprocess.PIPE, text=True).stdout for more in attempts]
        finally:
            for part in reversed(parts):
                part.terminate()
                part.wait()


def passed_in(said):
    return set(re.findall(r'^ok +(\S+)', said, re.MULTILINE))


def replay_all(replayer, program):
    """The names of the cases that passed, and what the replayer said of all.

    Cases leave behind what is in no namespace, and were recorded where such things of other cases, or of themselves,
    were there already or were not: one that fails among the others has two more attempts on a server of its own.
    """
    [said] = replay(replayer, program, [])
    passed = passed_in(said)
    for name in re.findall(r'^FAIL (\S+):', said, re.MULTILINE):
        if any(name in passed_in(alone) for alone in replay(replayer, program, ['--only', name], ['--only', name])):
            passed.add(name)
    return passed, said


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('replayer', type=pathlib.Path)
    parser.add_argument('--update', action='store_true')
    parser.add_argument('--program', default='target/debug/coracle')
    options = parser.parse_args()
    must = set(PASSING.read_text().split()) if PASSING.exists() else set()
    passed, said = replay_all(options.replayer, options.program)
    if options.update:
        PASSING.write_text(''.join(f'{name}\n' for name in sorted(must | passed)))
    lost, new = sorted(must - passed), sorted(passed - must)
    for name in lost:
        report = re.search(rf'^FAIL {re.escape(name)}:.*\n(?:  .*\n)*', said, re.MULTILINE)
        print(report.group(0) if report else f'{name} was not replayed', end='')
    print(f'{len(passed)} cases pass, {len(must)} must')
    if new and not options.update:
        print(f'{len(new)} cases pass that are not listed: check.py --update adds them')
    if lost:
        sys.exit(f'{len(lost)} cases that once passed fail: {" ".join(lost)}')


main()
