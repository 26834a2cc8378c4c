import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { files } from "./files.ts"
import { given } from "./given.ts"
import { outputs } from "./outputs.ts"
import type { Target } from "./Target.ts"

/** All that is fuzzed. */
export const targets: ReadonlyArray<Target> = [...outputs, ...files, ...given]

/** One input. What zfs 2.1 really printed, and what was written by hand, has any other name than that of one that was found. */
export interface Input {
  readonly name: string
  readonly bytes: string
}

const found = "found-"

export const wasFound = ({ name }: Input): boolean => name.startsWith(found)

/** The inputs of a target, of those that are kept in the repository. */
export const inputsOf = (corpus: string, { name }: Target): ReadonlyArray<Input> => {
  const folder = join(corpus, name)
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .sort()
    .map((file) => ({ name: file, bytes: readFileSync(join(folder, file), "latin1") }))
}

/** Keeps an input; its path. */
export const keep = (corpus: string, target: Target, bytes: string, prefix = found): string => {
  const folder = join(corpus, target.name)
  mkdirSync(folder, { recursive: true })
  const digest = createHash("sha256").update(bytes, "latin1").digest("hex").slice(0, 8)
  const path = join(folder, `${prefix}${digest}`)
  writeFileSync(path, bytes, "latin1")
  return path
}

/** Drops an input that another one makes superfluous. */
export const drop = (corpus: string, target: Target, { name }: Input): void => rmSync(join(corpus, target.name, name))
