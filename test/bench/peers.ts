import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { installed, type Measured, measure } from "./measure.ts"

/** What somebody would type instead: archive, read back, both checksums. */
export interface Contender {
  readonly name: string
  /** Archives `folder`; gives what it took and the archive's size in bytes. */
  readonly archive: (folder: string, work: string) => Promise<Measured & { readonly size: number }>
}

const sums = `md5sum out.zip > out.zip.md5 && sha256sum out.zip > out.zip.sha256`

const shell = (name: string, script: string, ...needed: ReadonlyArray<string>): ReadonlyArray<Contender> =>
  needed.every(installed)
    ? [
        {
          name,
          archive: async (folder, work) => {
            const place = join(work, "peer")
            rmSync(place, { recursive: true, force: true })
            mkdirSync(place, { recursive: true })
            const measured = await measure("sh", ["-ec", script, "sh", folder, place])
            return { ...measured, size: statSync(join(place, "out.zip")).size }
          }
        }
      ]
    : []

/** The job that zipper replaces: zipfile, testzip, hashlib. */
const python = `
import hashlib, os, sys, zipfile
folder, out = sys.argv[1], sys.argv[2]
with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as z:
    for root, dirs, files in os.walk(folder):
        for name in files:
            path = os.path.join(root, name)
            z.write(path, os.path.relpath(path, folder))
with zipfile.ZipFile(out) as z:
    assert z.testzip() is None
for kind in ("md5", "sha256"):
    digest = hashlib.new(kind)
    with open(out, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    open(out + "." + kind, "w").write(digest.hexdigest())
`

export const pythonName = "python zipfile"
export const zipName = "zip -6"

export const peers: ReadonlyArray<Contender> = [
  ...shell(zipName, `cd "$1"; zip -qr6 "$2/out.zip" .; cd "$2"; unzip -tqq out.zip; ${sums}`, "zip", "unzip"),
  ...shell(
    "7zz -mx=1",
    `cd "$1"; 7zz a -tzip -mx=1 -bso0 -bsp0 "$2/out.zip" .; cd "$2"; 7zz t -bso0 -bsp0 out.zip; ${sums}`,
    "7zz"
  ),
  ...shell(
    "7zz -mx=5",
    `cd "$1"; 7zz a -tzip -mx=5 -bso0 -bsp0 "$2/out.zip" .; cd "$2"; 7zz t -bso0 -bsp0 out.zip; ${sums}`,
    "7zz"
  ),
  ...shell(
    "bsdtar",
    `cd "$1"; bsdtar --format zip -cf "$2/out.zip" .; cd "$2"; bsdtar -xOf out.zip > /dev/null; ${sums}`,
    "bsdtar"
  ),
  ...shell(pythonName, `python3 -c '${python}' "$1" "$2/out.zip"`, "python3")
]

/** A configuration for the source that holds `folder` (an ABCD folder), with a target beside it. */
export const configure = (work: string, source: string, keys: Record<string, unknown> = {}): string => {
  const target = join(work, "target")
  mkdirSync(target, { recursive: true })
  const path = join(work, "config.json")
  writeFileSync(
    path,
    JSON.stringify({
      source_path: source,
      target_path: target,
      snapshots: "live",
      lockfile_path: join(work, "lock"),
      log_file: join(work, "log"),
      syslog: false,
      nice: 0,
      ...keys
    })
  )
  return path
}

/** zipper with `args`: `built` is the file for node, or the executable that contains node. */
export const zipperWith = (built: string, args: ReadonlyArray<string>): Promise<Measured> =>
  built.endsWith(".mjs") ? measure(process.execPath, [built, ...args]) : measure(built, args)

/** `zipper run` on the source, whatever is there already. */
export const zipperRun = (built: string, config: string): Promise<Measured> =>
  zipperWith(built, ["run", "--quiet", "--config", config])

/** zipper, as one of the contenders: a first run into an empty target. */
export const zipper = (built: string, keys: Record<string, unknown> = {}): Contender => ({
  name: "zipper",
  archive: async (folder, work) => {
    rmSync(join(work, "target"), { recursive: true, force: true })
    const measured = await zipperRun(built, configure(work, dirname(folder), keys))
    const name = basename(folder)
    return { ...measured, size: statSync(join(work, "target", name, `${name}.zip`)).size }
  }
})
