# Presses TAB in a real shell: tab.py SHELL PREAMBLE LINES. LINES is JSON: [["line as typed, with its \t", "text to wait for"], …].
# PREAMBLE is run first. Prints JSON: for each line what was shown. A line without a text ends with Enter: the `zipper` of the
# shell prints its arguments then.
import fcntl, json, os, pty, re, select, struct, sys, termios, time

shell, preamble, lines = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
commands = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
printing = {
    "bash": "zipper() { printf 'args:'; printf '<%s>' \"$@\"; echo .; }; bind 'set enable-bracketed-paste off'",
    "zsh": "zipper() { printf 'args:'; printf '<%s>' \"$@\"; echo .; }; unset zle_bracketed_paste; setopt noautomenu",
    "fish": "function zipper; printf args:; printf '<%s>' $argv; echo .; end; set -g fish_autosuggestion_enabled 0",
}
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 250, 0, 0))
    os.execvp(commands[shell][0], commands[shell])

shown = b""
escapes = re.compile(rb"\x1b\[[0-9;?<>=]*[A-Za-z]|\x1b[()][AB012]|\x1b[=>]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|[\x0e\x0f]")

def until(text, start, seconds=30):
    global shown
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if text.encode() in escapes.sub(b"", shown[start:]):
            break
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                break
    return escapes.sub(b"", shown[start:]).decode(errors="replace")

def typed(keys, text):
    start = len(shown)
    os.write(terminal, keys.encode())
    return until(text, start)

# Each command is typed when the shell has done the one before, and prints what is not in its own text.
for number, command in enumerate([printing[shell], *preamble.split("\n")]):
    typed(f"{command}\r", "")
    typed(f"echo re''ady {number}\r", f"ready {number}")
results = []
for number, (line, wanted) in enumerate(lines):
    if wanted:
        results.append(typed(line, wanted))
        typed(f"\x15echo re''ady {number}\r", f"ready {number}")
    else:
        results.append(typed(f"{line}\r", ">."))
os.kill(child, 9)
os.waitpid(child, 0)
print(json.dumps(results))
