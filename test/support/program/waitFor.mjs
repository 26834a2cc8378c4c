// Loaded before the program (node --import): before its first change below the folder WAIT_BELOW it waits for the file WAIT_FOR.
import { existsSync } from "node:fs"
import fs from "node:fs/promises"
import { setTimeout } from "node:timers/promises"

const below = process.env.WAIT_BELOW ?? "/nowhere"
const wanted = process.env.WAIT_FOR ?? "/"

const mkdir = fs.mkdir
fs.mkdir = async (path, ...rest) => {
  while (String(path).startsWith(below) && !existsSync(wanted)) await setTimeout(5)
  return mkdir(path, ...rest)
}
