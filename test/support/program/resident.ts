import { spawn } from "node:child_process"
import { existsSync, readFileSync, renameSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { isThorough } from "../thorough.ts"

/** One command for the resident program. */
export interface Asked {
  /** From the path of the program on. */
  readonly argv: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string | undefined
  /** What it writes to both outputs at the end. */
  readonly mark: string
}

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))

const program = here("../../../dist/resident.cjs")

/** What is loaded before it, and does nothing until a variable asks for it. */
const preloads = [`--require=${here("../fakeMounts.cjs")}`, `--import=${here("./clock.mjs")}`]

/** Whether it can obey these NODE_OPTIONS of a command. */
export const isPreloaded = (options = ""): boolean =>
  options.split(" ").every((option) => option === "" || preloads.includes(option))

/** Makes the resident program where commands may share a process; it is there as a whole or not at all. */
export const buildResident = async (): Promise<void> => {
  if (isThorough) return
  const made = `${program}.${process.pid}`
  const { version }: { readonly version: string } = JSON.parse(readFileSync(here("../../../package.json"), "utf8"))
  await build({
    entryPoints: [here("./residentChild.ts")],
    bundle: true,
    platform: "node",
    format: "cjs",
    define: { "process.env.ZIPPER_VERSION": JSON.stringify(version) },
    logLevel: "warning",
    outfile: made
  })
  renameSync(made, program)
}

/** Whether it is there and may be used. */
export const mayReside = !isThorough && existsSync(program)

type Resident = (asked: Omit<Asked, "mark">) => Promise<Ended>

const residents = new Map<number | undefined, Resident>()

const begin = (uid: number | undefined): Resident => {
  const child = spawn(process.execPath, [...preloads, program], {
    ...(uid === undefined ? {} : { uid, gid: uid }),
    stdio: ["ignore", "pipe", "pipe", "ipc"]
  })
  let commands = 0
  let mark = ""
  let text = { stdout: "", stderr: "" }
  let status: number | undefined
  let done: ((ended: Ended) => void) | undefined
  const end = (ended: Ended) => {
    done?.(ended)
    done = undefined
  }
  const look = () => {
    const { stderr, stdout } = text
    if (status === undefined || !stdout.endsWith(mark) || !stderr.endsWith(mark)) return
    end({ status, stdout: stdout.slice(0, -mark.length), stderr: stderr.slice(0, -mark.length) })
  }
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream]?.setEncoding("utf8").on("data", (chunk) => {
      text[stream] += String(chunk)
      look()
    })
  }
  child.on("message", (given) => {
    status = Number(given)
    look()
  })
  const leave = () => {
    if (residents.get(uid) === resident) residents.delete(uid)
  }
  child.on("disconnect", leave)
  // As a process of the built file would end here.
  child.on("close", (code) => {
    leave()
    end({ status: code, ...text })
  })
  let last: Promise<unknown> = Promise.resolve()
  const ask: Resident = (asked) =>
    new Promise((resolve) => {
      if (!child.connected) return resolve(runResident(asked, uid))
      // Before the test's own time is over, and those after it wait.
      const late = setTimeout(() => child.kill("SIGKILL"), 50_000)
      commands += 1
      mark = `\0end of ${commands}\0`
      text = { stdout: "", stderr: "" }
      status = undefined
      done = (ended) => {
        clearTimeout(late)
        resolve(ended)
      }
      child.send(JSON.stringify({ ...asked, mark }))
    })
  const resident: Resident = (asked) => {
    const ended = last.then(() => ask(asked))
    last = ended
    return ended
  }
  return resident
}

/** Runs a command in the resident program of this user, after those that it was given before. */
export const runResident = (asked: Omit<Asked, "mark">, uid?: number): Promise<Ended> => {
  const resident = residents.get(uid) ?? begin(uid)
  residents.set(uid, resident)
  return resident(asked)
}
