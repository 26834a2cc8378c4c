import * as assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

// Looks at a target with nothing but other people's programs, and knows only what the README promises.

const quiet = (program: string, args: ReadonlyArray<string>, cwd: string) =>
  execFileSync(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"] }).toString()

/** The smallest zip there is, of a folder that is empty: Info-ZIP reads it with a warning, as status 1. */
const isEmpty = (zip: string): boolean => statSync(zip).size === 22

/** At any moment, whatever was killed: what is called ABCD.zip is a whole zip; sets are whole unless one is being replaced. */
export const checkTarget = (target: string, what: string): void => {
  for (const folder of readdirSync(target).filter((name) => /^[A-Z0-9]{4}$/.test(name))) {
    const home = join(target, folder)
    const names = readdirSync(home)
    for (const zip of [`${folder}.zip`, `${folder}.prev.zip`].filter((name) => names.includes(name))) {
      if (isEmpty(join(home, zip))) continue
      assert.doesNotThrow(() => quiet("unzip", ["-tqq", zip], home), `${what}: ${zip}`)
    }
    const inBetween = ["commit", "abort"].some((name) => existsSync(join(home, ".publish", name)))
    if (inBetween || !names.includes(`${folder}.zip`)) continue
    for (const [program, end] of [
      ["md5sum", ".md5"],
      ["sha256sum", ".sha256"]
    ] as const) {
      const files = names.filter((name) => name.endsWith(end))
      assert.notEqual(files.length, 0, `${what}: ${folder}`)
      assert.doesNotThrow(() => quiet(program, ["-c", "--quiet", ...files], home), `${what}: ${folder}`)
    }
  }
}

/** After a run that came to its end: nothing of it is left but what is published and its state. */
export const checkTidy = (target: string, what: string): void => {
  const left = readdirSync(target, { recursive: true, encoding: "utf8" }).filter(
    (name) => /(^|\/)(\.publish|.*\.tmp|.*\.new)(\/|$)/.test(name) || /\.running$/.test(name)
  )
  assert.deepStrictEqual(left, [], what)
}

/** The current archives hold what is in the source, file by file. */
export const checkContent = (source: string, target: string, what: string): void => {
  for (const folder of readdirSync(source).filter((name) => /^[A-Z0-9]{4}$/.test(name))) {
    const out = mkdtempSync(join(tmpdir(), "zipper-unzipped-"))
    try {
      const zip = join(target, folder, `${folder}.zip`)
      if (!isEmpty(zip)) quiet("unzip", ["-qq", zip, "-d", out], out)
      assert.doesNotThrow(() => quiet("diff", ["-r", join(source, folder), out], out), `${what}: ${folder}`)
    } finally {
      rmSync(out, { recursive: true, force: true })
    }
  }
}
