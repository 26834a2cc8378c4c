import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { readThread, type ThreadLook } from "../../domain/Stall.ts"

/**
 * The threads of a process and of all that it started, from Linux's /proc (`proc`); none where there is no such thing.
 * Synchronous: node has four threads for what is not, and those may be the ones that hang.
 */
export const threadsOf = (proc: string, pid: number): ReadonlyArray<ThreadLook> => {
  const found: Array<ThreadLook> = []
  const seen = new Set<string>()
  const waiting = [String(pid)]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (seen.has(next)) continue
    seen.add(next)
    const tasks = join(proc, next, "task")
    for (const task of namesIn(tasks)) {
      const look = readThread(`${next}/${task}`, textOf(join(tasks, task, "status")))
      // What our own threads are called is for node to know.
      if (look !== undefined) found.push(next === String(pid) ? { ...look, name: "zipper" } : look)
      waiting.push(
        ...textOf(join(tasks, task, "children"))
          .split(/\s+/)
          .filter((child) => child !== "")
      )
    }
  }
  return found
}

const namesIn = (folder: string): ReadonlyArray<string> => {
  try {
    return readdirSync(folder)
  } catch {
    // It has ended meanwhile, or this system has no /proc.
    return []
  }
}

const textOf = (file: string): string => {
  try {
    return readFileSync(file, "latin1")
  } catch {
    // It has ended meanwhile; a kernel may also lack the file of children.
    return ""
  }
}
