import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { program, type Ran } from "./support.ts"

// Runs of the built file that are ended by SIGKILL at a chosen moment.

/** Whether every moment is tried, which takes many minutes, or some, others every time. */
export const everyMoment = process.env["ZIPPER_KILLS"] === "all"

/** All of `moments` or, of each of so many parts of them, one at random. */
export const chosenOf = <A>(moments: ReadonlyArray<A>, parts: number): ReadonlyArray<A> => {
  if (everyMoment) return moments
  return Array.from({ length: parts }, (_, part) => {
    const [from = 0, to = 0] = [part, part + 1].map((at) => Math.floor((moments.length * at) / parts))
    return moments.slice(from, to)[Math.floor(Math.random() * (to - from))]
  }).filter((moment) => moment !== undefined)
}

/** The built program with an environment of its own, to its end. */
export const zipperWith = (env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>): Ran => {
  const { signal, status, stderr, stdout } = spawnSync(process.execPath, [program, ...args], {
    encoding: "utf8",
    timeout: 240_000,
    env: { ...process.env, ...env },
    killSignal: "SIGABRT"
  })
  return { status: status ?? 128 + (signal === null ? 0 : os.constants.signals[signal]), stdout, stderr }
}

/** What a SIGKILL gives. */
export const killed = 137

/** Operations on files below a folder: killed at one of them, or all of them listed. */
export const fileOperations = (below: string) => {
  const preload = {
    NODE_OPTIONS: `--import=${path.join(import.meta.dirname, "killAt.mjs")}`,
    KILL_BELOW: below
  }
  const list = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "zipper-kill-")), "operations")
  return {
    counting: { ...preload, KILL_COUNT: list },
    counted: () => fs.readFileSync(list, "utf8").split("\n"),
    killAt: (at: number) => ({ ...preload, KILL_AT: String(at) })
  }
}

/**
 * Programs that stand before the real ones in PATH: each call of one of `names` is written down and carried out, and the caller
 * killed before or after the one that is chosen.
 */
export const calls = (...names: ReadonlyArray<string>) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "zipper-calls-"))
  const list = path.join(folder, "list")
  for (const name of names) {
    const script = `#!/bin/sh
echo "${name} $*" >> '${list}'
at=$(wc -l < '${list}')
[ "$KILL_CALL" != "before $at" ] || { kill -KILL $PPID; exit 1; }
PATH=\${PATH#*:}
[ "$KILL_CALL" = "after $at" ] || exec ${name} "$@"
${name} "$@"
status=$?
kill -KILL $PPID
exit $status
`
    fs.writeFileSync(path.join(folder, name), script, { mode: 0o755 })
  }
  const beginning = () => {
    fs.writeFileSync(list, "")
    return { PATH: `${folder}:${process.env["PATH"]}` }
  }
  return {
    counting: beginning,
    counted: () => fs.readFileSync(list, "utf8").trimEnd().split("\n"),
    killAt: (when: "before" | "after", at: number) => ({ ...beginning(), KILL_CALL: `${when} ${at}` })
  }
}
