import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { buildResident } from "./program/resident.ts"

/** Subjects of tests that need programs beyond node and Debian's essential ones; of several in a row one is enough. */
const needs = {
  "terminals, TAB, Python's zipfile": [["python3"], ["/usr/share/bash-completion/bash_completion"]],
  "other programs' view of zips": [["unzip"], ["7zz", "7z"], ["bsdtar"]],
  "the report in a browser": [["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome"]],
  "the manual's markup": [["mandoc"], ["groff"]],
  "words of other shells": [["zsh"], ["fish"], ["tcsh", "csh"]],
  "a webhook": [["curl"]],
  "units of systemd": [["systemd-analyze"]],
  "other file systems": [["mount"], ["mkfs.exfat"], ["mount.exfat-fuse"], ["mkfs.btrfs"], ["btrfs"]]
} as const

type Program = (typeof needs)[keyof typeof needs][number][number]

const inPath = (program: string): boolean =>
  (process.env["PATH"] ?? "").split(":").some((folder) => existsSync(resolve(folder, program)))

// Debian's python3-minimal has no pty.
const hasPython = inPath("python3") && spawnSync("python3", ["-c", "import pty, zipfile"]).status === 0

/** Whether a program is there that tests judge by; each is in the list above, so that a run names what it leaves out. */
export const installed = (program: Program): boolean => (program === "python3" ? hasPython : inPath(program))

/** The first program that is there, of those that do the same. */
export const browserName = needs["the report in a browser"][0].find(installed)

/** Names what is left out, after all tests. A program of ZIPPER_TESTS_NEED (.ci/run installs them) has to be there. */
export default async (): Promise<() => void> => {
  await buildResident()
  const missing = Object.entries(needs).flatMap(([subject, programs]) => {
    const rows: ReadonlyArray<ReadonlyArray<Program>> = programs
    const names = rows.filter((row) => !row.some(installed)).map(([name = ""]) => name)
    return names.length === 0 ? [] : [{ subject, names }]
  })
  const needed = (process.env["ZIPPER_TESTS_NEED"] ?? "").split(" ")
  const absent = missing.flatMap(({ names }) => names).filter((name) => needed.includes(name))
  if (absent.length > 0) throw new Error(`not installed, and ZIPPER_TESTS_NEED names it: ${absent.join(", ")}`)
  const left = missing.map(({ names, subject }) => `${names.join(", ")} (${subject})`)
  return () => {
    if (left.length > 0) process.stdout.write(`Left out, as these programs are not installed: ${left.join("; ")}\n`)
  }
}
