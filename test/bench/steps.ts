import { spawnSync } from "node:child_process"
import { rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { once, smallFiles } from "./corpora.ts"
import { floorOf, type Step, steps } from "./floor.ts"
import { installed, inTurn, measure, middle } from "./measure.ts"
import { run } from "./peers.ts"
import { built, configure, corpus, corpusNames, emptied, heading, ratio, row, runs, work } from "./setting.ts"

/**
 * Where the processor time of `zipper run` goes. `perf` samples every thread a thousand times in a second of processor time; each
 * sample belongs to the step that the kernel's call or the library's function on top of its stack says. The shares are those
 * of one run under perf, the seconds the median of runs without it.
 */

/** What the bare calls have no part in: the program around them. */
const around = ["compiling", "memory", "threads", "programs", "own code"] as const
type Around = (typeof around)[number]
type Spent = ReadonlyMap<Step | Around, number>

/** By a function of the kernel in the stack, the first that fits. */
const calls: ReadonlyArray<readonly [pattern: RegExp, step: Step | Around]> = [
  [/eventfd_write|_futex$|_epoll_|_eventfd|_sched_yield$|_x64_sys_clone/, "threads"],
  [/_x64_sys_(fsync|fdatasync|sync|syncfs|sync_file_range)$/, "sync"],
  [/_x64_sys_(rename|link|unlink|mkdir|rmdir|chmod|fchmod|utime|ftruncate)/, "publish"],
  [
    /do_statx_fd|vfs_fstat$|_x64_sys_(read|pread64|readv|open|openat|close|newfstat|fstat)$|io_close|task_work_run/,
    "read"
  ],
  [/_x64_sys_(getdents64|statx|newfstatat|lstat|stat|fstatfs|statfs)$/, "list"],
  [/_x64_sys_(write|pwrite64|writev|pwritev|sendfile|copy_file_range)$/, "write"],
  [/page_fault|_x64_sys_(mmap|munmap|mprotect|madvise|brk)$|do_exit|exit_mmap/, "memory"]
]

/** By the function that the processor was in. */
const functions: ReadonlyArray<readonly [pattern: RegExp, step: Step | Around]> = [
  [/crc32|crc_fold/i, "CRC"],
  [/inflate|zlib_inflate/i, "inflate"],
  [
    /deflate|longest_match|fill_window|compress_block|build_tree|gen_bitlen|_tr_|slide_hash|insert_string|init_block|pqdownheap/i,
    "deflate"
  ],
  [/md5|sha256|sha_?256|EVP_Digest|HASH_UPDATE/i, "hash"],
  [
    /memmove|memcpy|memset|^(malloc|free|calloc|_int_|cfree)|Scaveng|MarkCompact|Sweeper|Marking|GlobalHandles|Heap::/,
    "memory"
  ],
  [/pthread_|uv__|futex/, "threads"]
]

/** V8 that reads or compiles our program, in any frame. */
const compiler =
  /v8::internal::(compiler|maglev|baseline|interpreter|Compiler|Parser|PreParser|Scanner|OptimizedCompil|TurboshaftC)/

const stepOf = (program: string, stack: ReadonlyArray<string>): Step | Around => {
  if (program === "other") return "programs"
  const [top = ""] = stack
  const call = calls.find(([pattern]) => stack.some((name) => pattern.test(name)))
  if (call === undefined && stack.some((name) => compiler.test(name))) return "compiling"
  return call?.[1] ?? functions.find(([pattern]) => pattern.test(top))?.[1] ?? "own code"
}

/** Samples of each step in a run; node's own threads have its process id. */
const sampled = (config: string): ReadonlyMap<Step | Around, number> => {
  const file = join(work, "perf.data")
  const command = [process.execPath, built, "run", "--quiet", "--config", config]
  const recorded = spawnSync("perf", ["record", "-q", "-F", "997", "-g", "-o", file, "--", ...command])
  if (recorded.status !== 0) throw new Error(`perf record: ${String(recorded.stderr)}`)
  const script = spawnSync("perf", ["script", "-i", file, "--no-inline", "-F", "comm,pid,ip,sym"], {
    encoding: "latin1",
    maxBuffer: 2 ** 31
  })
  rmSync(file)
  const counts = new Map<Step | Around, number>()
  const samples = script.stdout.split("\n\n").map((sample) => sample.trim().split("\n"))
  const owner = samples.map(([head = ""]) => head.trim().split(/\s+/).at(-1) ?? "")
  const main = mostFrequent(owner)
  for (const [index, [, ...frames]] of samples.entries()) {
    if (frames.length === 0) continue
    const stack = frames.map((frame) => frame.trim().replace(/^[0-9a-f]+ /, ""))
    const step = stepOf(owner[index] === main ? "zipper" : "other", stack)
    counts.set(step, (counts.get(step) ?? 0) + 1)
  }
  return counts
}

const mostFrequent = (all: ReadonlyArray<string>): string => {
  const counts = new Map<string, number>()
  for (const one of all) counts.set(one, (counts.get(one) ?? 0) + 1)
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0] ?? ""
}

/** Processor seconds by step of a first run of `folder`. */
const spentOn = async (folder: string): Promise<Spent> => {
  const place = emptied("steps")
  const [total] = await inTurn(runs, [() => run(configure(place, folder).config)])
  const counts = sampled(configure(place, folder).config)
  const all = [...counts.values()].reduce((sum, count) => sum + count, 0)
  return new Map([...counts].map(([step, count]) => [step, ((total?.cpu ?? 0) * count) / all]))
}

const medianFloor = (folder: string): Spent => {
  const all = Array.from({ length: runs }, () => floorOf(folder))
  return new Map(steps.map((step) => [step, middle(all.map((floor) => floor[step]))]))
}

const sum = (spent: Spent, which: ReadonlyArray<Step | Around>): number =>
  which.reduce((total, step) => total + (spent.get(step) ?? 0), 0)

export const processorByStep = async (): Promise<void> => {
  if (!installed("perf")) return console.log("\nsteps: needs perf (Debian: linux-perf)")
  const [bare] = await inTurn(9, [() => measure(process.execPath, ["-e", "0"])])
  const one = once(join(work, "one", "CRPS"), (folder) => writeFileSync(join(folder, "a"), "a"))
  // A run of one byte has next to nothing but the start: what it spends around the bare calls.
  const start = await spentOn(one)
  console.log(
    "\nProcessor seconds by step: of zipper / of the bare calls = ratio. Samples of perf by the kernel's call or the library's" +
      "\nfunction that they are in, as shares of the processor time of runs without perf. start: all that a run of one byte spends" +
      "\naround the calls, against node -e 0. memory (page faults, copies, garbage), compiling (V8), threads (wake-ups), programs (others" +
      "\nthat are started) and own code (JavaScript and node) are what is more than that, and have no floor. read: open and close too."
  )
  const folders: ReadonlyArray<readonly [name: string, folder: string]> = [
    ...corpusNames.map((name) => [name, corpus(name)] as const),
    ["small", once(join(work, "small", "CRPS"), smallFiles)]
  ]
  const found: Array<{ readonly spent: Spent; readonly floor: Spent }> = []
  for (const [, folder] of folders) found.push({ spent: await spentOn(folder), floor: medianFloor(folder) })
  heading("processor seconds by step", 10, ...folders.map(([name]) => name.padStart(18)))
  const cell = (spent: number, floor: number | undefined): string =>
    floor === undefined || floor < 0.005
      ? spent.toFixed(2)
      : `${spent.toFixed(2)} / ${floor.toFixed(2)} = ${ratio(spent, floor)}`
  row("start", ...found.map(() => cell(sum(start, around), bare?.cpu)))
  for (const step of steps) row(step, ...found.map(({ floor, spent }) => cell(sum(spent, [step]), sum(floor, [step]))))
  for (const step of around)
    row(step, ...found.map(({ spent }) => cell(sum(spent, [step]) - sum(start, [step]), undefined)))
  row(
    "all",
    ...found.map(({ floor, spent }) => cell(sum(spent, [...steps, ...around]), sum(floor, steps) + (bare?.cpu ?? 0)))
  )
}
