import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { run, zipper } from "../support/program/built.ts"

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "zipper-demo-test-"))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** The command that the demonstration ends with. */
const nextOf = (stdout: string): string => /Next: (.*)\n$/.exec(stdout)?.[1] ?? ""

/** A folder for PATH that holds only these links. */
const path = (links: Readonly<Record<string, string>>): string => {
  mkdirSync(join(folder, "bin"))
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(folder, "bin", name))
  return join(folder, "bin")
}

/** Runs the command in a shell, as a user would paste it, and gives the version that it prints. */
const versionOf = (command: string, env: Record<string, string>, cwd: string): string =>
  execFileSync("/bin/sh", ["-c", command.replace("config init", "--version")], { env, cwd, encoding: "utf8" })

describe("the command that the demonstration ends with", () => {
  const isVersion = /^\d+\.\d+\.\d+/

  it("is zipper where that is this program", async () => {
    const env = { PATH: path({ zipper, node: process.execPath }) }
    const { stdout } = await run(["demo"], { env })
    assert.strictEqual(nextOf(stdout), "zipper config init")
    assert.match(versionOf(nextOf(stdout), env, folder), isVersion)
  })

  it("is the path of the program where zipper in PATH is another one, relative as far as it lies here", async () => {
    const cwd = dirname(dirname(zipper))
    writeFileSync(join(folder, "other"), "#!/bin/sh\nexit 9\n", { mode: 0o755 })
    const env = { PATH: path({ zipper: join(folder, "other"), node: process.execPath }) }
    const { stdout } = await run(["demo"], { env, cwd })
    assert.strictEqual(nextOf(stdout), "node dist/zipper.mjs config init")
    assert.match(versionOf(nextOf(stdout), env, cwd), isVersion)
  })

  it("names node by its path where PATH has none, and the program by its own elsewhere", async () => {
    const env = { PATH: path({}) }
    const { stdout } = await run(["demo"], { env, cwd: folder })
    assert.strictEqual(nextOf(stdout), `${process.execPath} ${zipper} config init`)
    assert.match(versionOf(nextOf(stdout), env, folder), isVersion)
  })
})
