import { nodeProblem, version } from "./cli/build.ts"
import { outputProblem, processTerminal } from "./cli/terminal.ts"
import { ExitStatus } from "./system/ExitStatus.ts"

const print = (text: string): void => {
  const { write } = processTerminal()
  const cause = write("stdout", text)
  if (cause === undefined) return
  write("stderr", `${outputProblem(cause)}\n`)
  process.exitCode = ExitStatus.someFailed
}

const problem = nodeProblem(process.versions.node)

// Monitors and installers ask for the version often, and a user who presses TAB waits: neither waits for the libraries to load.
if (problem !== undefined) {
  processTerminal().write("stderr", `${problem}\n`)
  process.exitCode = ExitStatus.preflight
} else if (process.argv.length === 3 && process.argv[2] === "--version") print(`${version}\n`)
else if (process.argv[2] === "--complete") {
  void import("./cli/completedNames.ts").then(({ completedNames }) => print(completedNames(process.argv.slice(3))))
} else void import("./cli/start.ts").then(({ start }) => start(process.argv))
