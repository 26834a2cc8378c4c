import { setFlagsFromString } from "node:v8"
import { Worker } from "node:worker_threads"
import { explain } from "./Errno.ts"
import {
  type Reply,
  type Request,
  type Runner,
  ready,
  unpackFailure,
  WorkerEnded,
  type WorkerJob
} from "./WorkerJob.ts"

export type WorkerProgram = URL | string

interface PoolOptions {
  readonly program: WorkerProgram
  readonly width: number
  /** Does the work when no thread can be started. */
  readonly instead: Runner
  /** Called once, with a text for the log, when threads cannot be started. */
  readonly onTrouble: (message: string) => void
}

interface Pool extends Pick<Runner, "width" | "run"> {
  /** Ends all threads; work that is under way rejects with {@link WorkerEnded}. */
  readonly close: () => Promise<void>
}

/** Pieces of brief work that a thread has at a time. */
const depth = 2

/** The space for young objects is most of a thread's memory, and our threads make few: 8 takes 8 MiB more each, and no less time. */
const resourceLimits = { maxYoungGenerationSizeMb: 2 }

/** Of node: V8 writes an error for a flag that it does not know. */
const majorsWithFlag = new Set(["20", "22", "24", "26"])

/** The main thread's space would grow to 32 to 128 MiB, by node's version, and save no time. A new thread of V8 undoes this. */
export const keepYoungSpace = (): void => {
  const [major = ""] = process.versions.node.split(".")
  if (majorsWithFlag.has(major)) setFlagsFromString("--semi-space-growth-factor=1")
}

/** After a thread could not be started: memory may be free by then. */
const retryAfterMillis = 60_000

interface Task {
  readonly request: Request<unknown>
  readonly kind: WorkerJob<never, unknown>["kind"]
  readonly signal: AbortSignal
  readonly onReply: (reply: Reply<never>) => void
  readonly fail: (cause: unknown) => void
  readonly runHere: () => void
}

interface Thread {
  readonly worker: Worker
  tasks: Array<Task>
  ready: boolean
  /** It is being ended to stop work. */
  stopping: boolean
  trouble: unknown
}

/** Threads are started when there is work, and kept until the pool is closed. */
export const openPool = ({ instead, onTrouble, program, width }: PoolOptions): Pool => {
  const threads = new Set<Thread>()
  let waiting: Array<Task> = []
  let limit = width
  let limitedAt = 0
  let troubled = false
  let closed = false

  const cannotStart = (cause: unknown): void => {
    const what = width === 1 ? "the worker thread" : `all of the ${width} worker threads`
    if (!troubled) onTrouble(`cannot start ${what}: ${explain(cause)}`)
    troubled = true
    limit = Math.min(limit, threads.size)
    limitedAt = Date.now()
  }

  const start = (): Thread | undefined => {
    try {
      const worker = new Worker(program, { eval: typeof program === "string", resourceLimits })
      const thread: Thread = { worker, tasks: [], ready: false, stopping: false, trouble: undefined }
      threads.add(thread)
      worker.once("online", keepYoungSpace)
      worker.on("message", (message) => {
        if (message === ready) {
          thread.ready = true
          keepYoungSpace()
        } else if (!thread.stopping) thread.tasks.shift()?.onReply(message)
        dispatch()
      })
      worker.on("messageerror", (cause) => {
        // Answers come in order: this one was to the first task.
        thread.tasks.shift()?.fail(new WorkerEnded(`an answer was lost: ${explain(cause)}`))
        thread.stopping = true
        void worker.terminate()
      })
      worker.on("error", (cause) => {
        thread.trouble = cause
      })
      // Until its end it may still read from files that a caller is going to close.
      worker.once("exit", () => onExit(thread))
      return thread
    } catch (cause) {
      cannotStart(cause)
      return undefined
    }
  }

  const onExit = (thread: Thread): void => {
    threads.delete(thread)
    const left = thread.tasks.filter(({ fail, signal }) => {
      if (signal.aborted) fail(signal.reason)
      return !signal.aborted
    })
    const why = thread.trouble === undefined ? "it was ended" : explain(thread.trouble)
    if (closed) for (const { fail } of left) fail(new WorkerEnded("the worker threads were ended"))
    else {
      if (!thread.ready && !thread.stopping) cannotStart(thread.trouble ?? new Error("it ended at once"))
      // The task in work may have ended it; those behind it go to another thread.
      else if (!thread.stopping && left.length > 0)
        left.shift()?.fail(new WorkerEnded(`a worker thread failed: ${why}`))
      waiting = [...left, ...waiting]
      dispatch()
    }
  }

  const isFree = (thread: Thread): boolean => thread.tasks.length === 0 && !thread.stopping

  const hasRoom = (thread: Thread): boolean =>
    !thread.stopping && thread.tasks.length < depth && thread.tasks.every(({ kind }) => kind === "brief")

  const threadFor = (task: Task): Thread | undefined => {
    const all = [...threads]
    const free = all.find((thread) => isFree(thread) && thread.ready) ?? all.find(isFree)
    if (free !== undefined) return free
    if (limit < width && Date.now() - limitedAt > retryAfterMillis) limit = width
    const started = threads.size < limit ? start() : undefined
    return started ?? (task.kind === "brief" ? all.find(hasRoom) : undefined)
  }

  const dispatch = (): void => {
    for (let task = waiting[0]; task !== undefined; task = waiting[0]) {
      const thread = threadFor(task)
      if (thread === undefined && limit > 0) return
      waiting.shift()
      if (thread === undefined) task.runHere()
      else send(thread, task)
    }
  }

  const send = (thread: Thread, task: Task): void => {
    try {
      thread.worker.postMessage(task.request)
      thread.tasks.push(task)
    } catch (cause) {
      task.fail(cause)
    }
  }

  const abort = (task: Task): void => {
    if (waiting.includes(task)) {
      waiting = waiting.filter((other) => other !== task)
      task.fail(task.signal.reason)
    }
    for (const thread of threads) {
      if (!thread.tasks.includes(task)) continue
      thread.stopping = true
      void thread.worker.terminate()
    }
  }

  const listen = makeListen(abort)

  const run = <Input, Output>(
    job: WorkerJob<Input, Output>,
    input: NoInfer<Input>,
    signal: AbortSignal
  ): Promise<Output> =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted()
      if (closed) throw new WorkerEnded("the worker threads were ended")
      const fail = (cause: unknown): void => {
        unlisten()
        reject(cause)
      }
      const succeed = (value: Output): void => {
        unlisten()
        resolve(value)
      }
      const task: Task = {
        request: { name: job.name, input },
        kind: job.kind,
        signal,
        fail,
        onReply: (reply: Reply<Output>) =>
          reply.ok ? succeed(reply.value) : fail(unpackFailure(reply.failure, job.failures)),
        runHere: () => void instead.run(job, input, signal).then(succeed, fail)
      }
      const unlisten = listen(task)
      waiting.push(task)
      dispatch()
    })

  return {
    width,
    run,
    close: async () => {
      closed = true
      for (const { fail } of waiting.splice(0)) fail(new WorkerEnded("the worker threads were ended"))
      await Promise.all([...threads].map(({ worker }) => worker.terminate()))
    }
  }
}

/** Calls `abort` with each task of an aborted signal. One listener for all tasks of a signal: node warns of more than ten. */
const makeListen = (abort: (task: Task) => void) => {
  const tasksOf = new Map<AbortSignal, { readonly tasks: Set<Task>; readonly onAbort: () => void }>()

  return (task: Task): (() => void) => {
    const { signal } = task
    const known = tasksOf.get(signal)
    const tasks = known?.tasks ?? new Set<Task>()
    const onAbort = known?.onAbort ?? (() => [...tasks].forEach(abort))
    if (known === undefined) {
      tasksOf.set(signal, { tasks, onAbort })
      signal.addEventListener("abort", onAbort)
    }
    tasks.add(task)
    return () => {
      tasks.delete(task)
      if (tasks.size > 0 || tasksOf.get(signal)?.tasks !== tasks) return
      tasksOf.delete(signal)
      signal.removeEventListener("abort", onAbort)
    }
  }
}
