import * as Data from "effect/Data"

/** The command line asks for something impossible: everything that is wrong with it, at once. Nothing was touched. */
export class UsageError extends Data.TaggedError("UsageError")<{
  /** A line each. */
  readonly problems: ReadonlyArray<string>
  /** The command whose --help says more. */
  readonly command: string
}> {
  override get message(): string {
    const [first] = this.problems
    const told =
      this.problems.length === 1
        ? [first]
        : [
            `${this.problems.length} mistakes on the command line`,
            ...this.problems.map((problem) => `- ${problem}`)
          ]
    return [...told, `zipper ${this.command} --help tells what there is`].join("\n")
  }
}
