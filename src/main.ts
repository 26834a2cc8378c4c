import { version } from "./cli/build.ts"
import { processTerminal } from "./cli/terminal.ts"

// Monitors and installers ask for the version often: it does not wait for the libraries to load.
if (process.argv.length === 3 && process.argv[2] === "--version") {
  if (processTerminal().write("stdout", `${version}\n`) !== undefined) process.exitCode = 1
} else void import("./cli/start.ts").then(({ start }) => start(process.argv))
