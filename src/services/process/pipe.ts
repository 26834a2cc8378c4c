import * as Exit from "effect/Exit"
import { collect, textLines } from "./output.ts"
import type { ProcessError } from "./ProcessError.ts"
import { type Child, type Completed, type Supervised, supervise } from "./supervise.ts"

/** One program of a pipe. */
export interface PipeStage {
  readonly program: string
  readonly args: ReadonlyArray<string>
  /** As an Invocation's. */
  readonly env?: Readonly<Record<string, string>>
  /** Gets each line of its stderr (UTF-8, without the newline) as it comes. */
  readonly onStderr?: (line: string) => void
}

/** How a program of a pipe ended; only the last one has any `stdout`. */
export interface StageEnd extends Completed {
  /** It was still running when one that came after it had ended, and we ended it. */
  readonly ended: boolean
}

/** What {@link supervisePipe} leaves to the module that starts programs. */
interface Starter {
  /** Starts a stage that reads from the one before. */
  readonly start: (stage: PipeStage, previous: Child | undefined) => Child
  readonly cannotStart: (stage: PipeStage) => (cause: unknown) => ProcessError
}

type Outcome<A> = Exit.Exit<A, ProcessError>

/**
 * How long a program may go on when nobody reads what it prints any more. One that prints ends by SIGPIPE at once; ssh
 * takes a moment to tell the other end.
 */
const unreadGrace = 2_000

/**
 * Starts all stages in one go and sees them to their end; see Process.pipe. Calls `done` once, when all have ended. `end`
 * ends them all.
 */
export const supervisePipe = (
  stages: ReadonlyArray<PipeStage>,
  { cannotStart, start }: Starter,
  done: (outcome: Outcome<ReadonlyArray<StageEnd>>) => void
): { readonly end: () => Promise<void> } => {
  const running: Array<Supervised> = []
  const exited = new Set<number>()
  const unread = new Set<number>()
  const completed: Array<Completed> = []
  const timers = new Set<NodeJS.Timeout>()
  let failure: Outcome<never> | undefined
  let left = 0

  const end = async () => {
    await Promise.all(running.map((stage) => stage.end()))
  }
  const fail = (with_: Outcome<never>) => {
    failure ??= with_
    void end()
  }
  const finish = () => {
    for (const timer of timers) clearTimeout(timer)
    done(failure ?? Exit.succeed(completed.map((each, index) => ({ ...each, ended: unread.has(index) }))))
  }
  const endUnread = (index: number) => () => {
    for (const [earlier, stage] of running.slice(0, index).entries()) {
      if (exited.has(earlier)) continue
      unread.add(earlier)
      void stage.end()
    }
  }
  const whenExited = (index: number) => () => {
    exited.add(index)
    timers.add(setTimeout(endUnread(index), unreadGrace))
  }
  const whenDone = (index: number) => (outcome: Outcome<Completed>) => {
    if (Exit.isSuccess(outcome)) completed[index] = outcome.value
    else fail(Exit.failCause(outcome.cause))
    left--
    if (left === 0) finish()
  }

  let previous: Child | undefined
  for (const [index, stage] of stages.entries()) {
    let child: Child
    try {
      child = start(stage, previous)
    } catch (cause) {
      fail(Exit.fail(cannotStart(stage)(cause)))
      break
    }
    // It has a copy of its own; ours would keep the writer from noticing that its reader has gone.
    previous?.stdout?.destroy()
    previous = child
    left++
    running.push(
      supervise(child, {
        stdout: index === stages.length - 1 ? collect() : undefined,
        stderr: stage.onStderr === undefined ? undefined : textLines(stage.onStderr),
        cannotStart: cannotStart(stage),
        exited: whenExited(index),
        done: whenDone(index)
      })
    )
    // It could not be started: what it says about that comes in a moment, and ends the others.
    if (child.pid === undefined) break
  }
  if (left === 0) finish()
  return { end }
}
