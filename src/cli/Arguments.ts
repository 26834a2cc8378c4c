/** Options that the CLI library itself understands on the bare program name. */
const builtIn: ReadonlySet<string> = new Set(["--help", "-h", "--version", "--completions"])

/**
 * `zipper --config F …` with no command is `run`: the crontabs of the script that zipper replaces say so.
 * Takes and gives the arguments after the program name.
 */
export const withDefaultCommand = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const first = args[0]
  if (first === undefined || !first.startsWith("-")) return args
  const name = first.split("=", 1)[0] ?? first
  return builtIn.has(name) ? args : ["run", ...args]
}
