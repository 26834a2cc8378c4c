# Drives a program on a terminal of its own: terminal.py STEPS PROGRAM ARGUMENT…
# STEPS is JSON: [["text to wait for", "keys to press"], …]. Prints all that was shown, then "exit STATUS".
import json, os, pty, select, sys, time

steps = json.loads(sys.argv[1])
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown, seen, deadline = b"", 0, time.monotonic() + 20
while time.monotonic() < deadline:
    if steps and (at := shown.find(steps[0][0].encode(), seen)) >= 0:
        seen = at + len(steps[0][0].encode())
        # The program shows its question, and then waits for keys.
        time.sleep(0.1)
        os.write(terminal, steps.pop(0)[1].encode())
        continue
    if select.select([terminal], [], [], 0.1)[0]:
        try:
            some = os.read(terminal, 65536)
        except OSError:  # the program has gone
            break
        if not some:
            break
        shown += some
else:
    os.kill(child, 9)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.stdout.buffer.write(shown + f"\nexit {status}\n".encode())
