import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync
} from "node:fs"
import { dirname, join } from "node:path"
import { moduleFiles } from "./modules.ts"
import { noise, pick, random, vocabulary } from "./random.ts"

/** Folders to archive, the same bytes at every run and on every machine. */

/** Lines such as a web server writes. */
const logFile = (path: string, bytes: number, seed: number): void => {
  const source = random(seed)
  const paths = vocabulary(source, 400).map((word, i) => `/${word}/${i % 7 === 0 ? "index.html" : word}`)
  const agents = vocabulary(source, 30).map((word) => `Mozilla/5.0 (${word}; rv:${source.below(99)}.0)`)
  const file = openSync(path, "w")
  let written = 0
  let second = 1_735_689_600
  while (written < bytes) {
    let block = ""
    while (block.length < 1 << 20) {
      second += source.below(3)
      const ip = `10.${source.below(16)}.${source.below(256)}.${source.below(256)}`
      const status = source.below(20) === 0 ? 404 : 200
      block += `${ip} - - [${new Date(second * 1000).toISOString()}] "GET ${pick(source, paths)}?id=${source.next()} HTTP/1.1" ${status} ${source.below(90_000)} "-" "${pick(source, agents)}" ${source.below(2000)}us\n`
    }
    const chunk = Buffer.from(block.slice(0, Math.min(block.length, bytes - written)), "latin1")
    writeSync(file, chunk)
    written += chunk.length
  }
  closeSync(file)
}

const noiseFile = (path: string, bytes: number, seed: number): void => {
  const source = random(seed)
  const file = openSync(path, "w")
  for (let written = 0; written < bytes; ) {
    const chunk = noise(source, Math.min(1 << 22, bytes - written))
    writeSync(file, chunk)
    written += chunk.length
  }
  closeSync(file)
}

/** Something like source code: indented lines of words, a few kilobytes a file, or `size` bytes. */
const codeFiles = (folder: string, count: number, seed: number, size?: number): void => {
  const source = random(seed)
  const words = vocabulary(source, 3000)
  for (let i = 0; i < count; i++) {
    const directory = join(folder, `lib${i % 97}`, `part${i % 13}`)
    mkdirSync(directory, { recursive: true })
    let text = ""
    const lines = 10 + source.below(240)
    for (let line = 0; size === undefined ? line < lines : text.length < size; line++) {
      text += `${"  ".repeat(source.below(4))}${pick(source, words)} = ${pick(source, words)}(${pick(source, words)}, ${source.below(1000)});\n`
    }
    writeFileSync(join(directory, `file${i}.ts`), text.slice(0, size))
  }
}

/** `count` files of a few bytes, a thousand to a folder. */
export const tinyFiles = (folder: string, count: number): void => {
  for (let i = 0; i < count; i++) {
    const directory = join(folder, `d${Math.floor(i / 1000)}`)
    if (i % 1000 === 0) mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, `f${i}`), `file ${i}\n`)
  }
}

const media = (folder: string, count: number, bytes: number, seed: number): void => {
  for (let i = 0; i < count; i++) noiseFile(join(folder, `clip${i}.mp4`), bytes, seed + i)
}

const logs = (folder: string, count: number, bytes: number, seed: number): void => {
  for (let i = 0; i < count; i++) logFile(join(folder, `access${i}.log`), bytes, seed + i)
}

/** By name: what makes the folder's content. */
export const corpora: Readonly<Record<string, (folder: string) => void>> = {
  logs: (folder) => logs(folder, 4, 45_000_000, 11),
  media: (folder) => media(folder, 3, 80_000_000, 22),
  code: (folder) => codeFiles(folder, 8000, 33),
  mixed: (folder) => {
    logs(folder, 2, 30_000_000, 44)
    media(folder, 2, 50_000_000, 55)
    codeFiles(folder, 2000, 66)
  },
  modules: (folder) => moduleFiles(folder, 30_000, 99)
}

/** Logs of 1 MB, in 600 files. */
export const manyLogs = (folder: string): void => logs(folder, 600, 1_000_000, 77)

/** 10,000 files of 7 KB, where what is done for each file counts most. */
export const smallFiles = (folder: string): void => codeFiles(folder, 10_000, 111, 7000)

/** One file of 10 GB, nothing but a hole. */
export const sparse = (folder: string): void => {
  writeFileSync(join(folder, "hole"), "")
  truncateSync(join(folder, "hole"), 10_000_000_000)
}

/** Eight folders of 4,000 files and a log each. */
export const eightFolders = (folder: string): void => {
  for (let i = 0; i < 8; i++) {
    codeFiles(join(folder, `EIG${i}`), 4000, 200 + i)
    logs(join(folder, `EIG${i}`), 1, 20_000_000, 300 + i)
  }
}

/** Twenty folders of a few files. */
export const twentyFolders = (folder: string): void => {
  for (let i = 0; i < 20; i++) codeFiles(join(folder, `FL${String(i).padStart(2, "0")}`), 50, 400 + i)
}

/** Makes `folder` with `fill`, unless an earlier run made it already; never leaves half of it. */
export const once = (folder: string, fill: (folder: string) => void): string => {
  if (existsSync(folder)) return folder
  const making = `${folder}.making`
  rmSync(making, { recursive: true, force: true })
  mkdirSync(making, { recursive: true })
  fill(making)
  mkdirSync(dirname(folder), { recursive: true })
  renameSync(making, folder)
  return folder
}
