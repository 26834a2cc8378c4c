import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { makeScreen } from "./screen.ts"

/** What happens to a program on a terminal, in milliseconds after it wrote `begin` (its first bars). */
export type PtyEvent = { readonly after: number } & (
  | { readonly columns: number; readonly rows: number }
  | { readonly keys: string }
  | { readonly signal: number }
)

// Prints what the program writes and the resizings as they follow each other: one JSON document a line.
const driver = `
import base64, fcntl, json, os, pty, select, signal, struct, sys, termios, time
columns, rows, events, begin = json.loads(sys.argv[1])
def resize(fd, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
def tell(**what):
    sys.stdout.write(json.dumps(what) + "\\n")
pid, fd = pty.fork()
if pid == 0:
    resize(0, columns, rows)
    os.execvp(sys.argv[2], sys.argv[2:])
begun = None
while True:
    wait = None
    if begun is not None and events:
        wait = max(0, begun + events[0]["after"] / 1000 - time.monotonic())
    ready, _, _ = select.select([fd], [], [], wait)
    if not ready:
        event = events.pop(0)
        if "keys" in event:
            os.write(fd, event["keys"].encode())
        elif "signal" in event:
            os.kill(pid, event["signal"])
        else:
            resize(fd, event["columns"], event["rows"])
            tell(columns=event["columns"], rows=event["rows"])
        continue
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    if begun is None and begin.encode() in data:
        begun = time.monotonic()
    tell(data=base64.b64encode(data).decode())
tell(status=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`

/** What a program did on a terminal. */
export interface PtyEnded {
  readonly status: number | undefined
  /** All that it wrote. */
  readonly text: string
  /** What the terminal showed from the cursor on, after each piece of output: the bars. */
  readonly bars: ReadonlyArray<ReadonlyArray<string>>
  /** Where the cursor was in the end, and what stood above it and from there on. */
  readonly end: {
    readonly above: ReadonlyArray<string>
    readonly below: ReadonlyArray<string>
    readonly column: number
  }
}

/** Runs a program on a pseudo-terminal of Python's, and shows all that it writes to a model of a terminal. */
export const onTerminal = async (
  command: ReadonlyArray<string>,
  options: {
    readonly columns: number
    readonly rows: number
    readonly events?: ReadonlyArray<PtyEvent>
    readonly begin?: string
    readonly env?: Readonly<Record<string, string>>
  }
): Promise<PtyEnded> => {
  const { begin = "\x1b[?7l", columns, env, events = [], rows } = options
  const child = spawn("python3", ["-c", driver, JSON.stringify([columns, rows, events, begin]), ...command], {
    env: { PATH: process.env["PATH"] ?? "", TERM: "xterm", LANG: "C.UTF-8", ...env },
    stdio: ["ignore", "pipe", "inherit"]
  })
  const screen = makeScreen({ columns, rows })
  const bars: Array<ReadonlyArray<string>> = []
  const decoder = new TextDecoder()
  let text = ""
  let rest = ""
  let status: number | undefined
  for await (const line of createInterface({ input: child.stdout })) {
    const told = JSON.parse(line)
    if (told.status !== undefined) status = told.status
    else if (told.data === undefined) screen.resize(told)
    else {
      const piece = rest + decoder.decode(Buffer.from(told.data, "base64"), { stream: true })
      // A sequence may be cut anywhere.
      const cut = /\x1b\[?\??\d*$/.exec(piece)?.index ?? piece.length
      rest = piece.slice(cut)
      text += piece.slice(0, cut)
      // The driver has made \r\n of \n.
      screen.write(piece.slice(0, cut))
      bars.push(screen.lines().below)
    }
  }
  return { status, text, bars, end: { ...screen.lines(), column: screen.cursor().column } }
}
