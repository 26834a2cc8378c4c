import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pick, type Random, random, vocabulary } from "./random.ts"

/**
 * Something like a folder node_modules: packages with scopes, versions of their own below others, and files whose kinds, sizes
 * and compressibility are those of a real one (10,000 files of this project): most have 2 KB, a few a hundred, and deflate
 * leaves 18 to 29 % of a kind.
 */
export const moduleFiles = (folder: string, count: number, seed: number): void => {
  const source = random(seed)
  const common = vocabulary(source, 2500)
  let made = 0
  let home = folder
  for (let number = 0; made < count; number++) {
    const name = `${pick(source, common)}-${number}`
    // One package in eight has a dependency below itself, as npm does for a second version.
    const parent = number > 0 && source.below(8) === 0 ? join(home, "node_modules") : folder
    home = join(parent, source.below(4) === 0 ? `@${pick(source, common)}` : "", name)
    made += packageFiles(home, name, Math.min(count - made, 3 + source.below(source.below(8) === 0 ? 300 : 25)), {
      source,
      common
    })
  }
}

interface Words {
  readonly source: Random
  readonly common: ReadonlyArray<string>
}

const licence = (owner: string): string =>
  `MIT License\n\nCopyright (c) ${owner}\n\n${"Permission is hereby granted, free of charge, to any person obtaining a copy of this software, to deal in it without restriction.\n".repeat(8)}`

const packageFiles = (home: string, name: string, count: number, words: Words): number => {
  const { common, source } = words
  // The names that a package uses again and again, its own and some of all.
  const own = [...vocabulary(source, 25), ...Array.from({ length: 35 }, () => pick(source, common))]
  const directories = ["lib", "dist", join("dist", "esm"), join("src", "internal"), join("lib", "util", "parts")]
  const write = (path: string, content: string): void => writeFileSync(join(home, path), content)
  for (const directory of directories) mkdirSync(join(home, directory), { recursive: true })
  for (let i = 0; i < count; i++) {
    const base = join(pick(source, directories), `${pick(source, own)}${i}`)
    const kind = source.below(100)
    if (i === 0) write("package.json", manifest(name, own, source))
    else if (i === 1) write("README.md", prose(words, own, sizeOf(source, 1.5)))
    else if (i === 2) write("LICENSE", licence(name))
    else if (kind < 40) write(`${base}.js`, script(own, words, sizeOf(source, 1)))
    else if (kind < 67) write(`${base}.js.map`, sourceMap(base, own, source, sizeOf(source, 1)))
    else if (kind < 90) write(`${base}.d.ts`, declarations(own, source, sizeOf(source, 0.7)))
    else if (kind < 98) write(`${base}.json`, manifest(base, own, source))
    else write(`${base}.md`, prose(words, own, sizeOf(source, 1.5)))
  }
  return count
}

/** Half of them under 1.6 KB, one in a hundred over 50. */
const sizeOf = (source: Random, factor: number): number => {
  let sum = 0
  for (let i = 0; i < 12; i++) sum += source.below(10_000) / 10_000
  return Math.min(400_000, factor * 1600 * Math.exp(1.5 * (sum - 6)))
}

const repeat = (size: number, piece: (line: number) => string): string => {
  let text = ""
  for (let line = 0; text.length < size; line++) text += piece(line)
  return text
}

const script = (own: ReadonlyArray<string>, { common, source }: Words, size: number): string => {
  const word = (): string => often(source, own)
  const statements: ReadonlyArray<() => string> = [
    () => `  const ${word()} = ${word()}.${word()}(${word()}, ${source.below(100)});\n`,
    () =>
      `  if (${word()} === undefined) {\n    throw new TypeError("${word()} ${pick(source, common)} ${word()}");\n  }\n`,
    () => `  for (let i = 0; i < ${word()}.length; i++) {\n    ${word()}[i] = ${word()}(${word()}[i]);\n  }\n`,
    () =>
      `  return ${word()} !== null && ${word()}.${word()} ? ${word()} : ${word()};\n}\n\nfunction ${word()}(${word()}) {\n`,
    () => `  // ${pick(source, common)} ${pick(source, common)} the ${word()} of ${pick(source, common)}\n`,
    () => `exports.${word()} = ${word()};\n`
  ]
  return `"use strict";\nObject.defineProperty(exports, "__esModule", { value: true });\n${repeat(size, () => pick(source, statements)())}`
}

const declarations = (own: ReadonlyArray<string>, source: Random, size: number): string => {
  const word = (): string => often(source, own)
  const types = ["string", "number", "boolean", "void", "Promise<void>", "ReadonlyArray<string>"]
  return repeat(size, () =>
    source.below(5) === 0
      ? `}\nexport interface ${word()}Options extends ${word()} {\n`
      : `    readonly ${word()}?: (${word()}: ${pick(source, types)}) => ${pick(source, types)};\n`
  )
}

/** The first far more often than the last, as words of a program are. */
const often = (source: Random, words: ReadonlyArray<string>): string =>
  words[Math.min(source.below(words.length), source.below(words.length), source.below(words.length))] ?? "word"

const base64 = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"]

const sourceMap = (base: string, own: ReadonlyArray<string>, source: Random, size: number): string => {
  // Most steps of a map are short and alike, some lead far away.
  const steps = Array.from({ length: 40 }, () => `${pick(source, base64)}A${pick(source, base64)}`)
  const mappings = repeat(
    size * 0.9,
    () =>
      `${often(source, steps)}${source.below(9) === 0 ? pick(source, base64) : "A"}${source.below(6) === 0 ? ";" : ","}`
  )
  const names = Array.from({ length: 20 }, () => pick(source, own))
  return JSON.stringify({ version: 3, file: `${base}.js`, sources: [`../src/${base}.ts`], names, mappings })
}

const manifest = (name: string, own: ReadonlyArray<string>, source: Random): string => {
  const some = (count: number): Record<string, string> =>
    Object.fromEntries(
      Array.from({ length: count }, () => [pick(source, own), `^${source.below(9)}.${source.below(30)}.0`])
    )
  const version = `${source.below(9)}.${source.below(30)}.${source.below(20)}`
  const fields = { name, version, license: "MIT", main: "lib/index.js", types: "dist/index.d.ts" }
  return `${JSON.stringify({ ...fields, keywords: own.slice(0, 6), dependencies: some(4), devDependencies: some(12) }, null, 2)}\n`
}

const prose = ({ common, source }: Words, own: ReadonlyArray<string>, size: number): string =>
  repeat(size, (line) =>
    line % 8 === 0
      ? `\n## ${pick(source, own)}\n\n`
      : `The ${pick(source, own)} of the ${pick(source, common)} is \`${pick(source, own)}\` when the ${pick(source, own)} has a ${pick(source, own)}.\n`
  )
