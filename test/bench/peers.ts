import { spawnSync } from "node:child_process"
import { rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { installed, type Measured, type MeasureOptions, measure } from "./measure.ts"
import { built, configure, emptied } from "./setting.ts"

/** What archives a folder, reads the archive back and makes both checksums. */
export interface Contender {
  /** The program; one line of the chart. */
  readonly family: string
  /** How it was called, which is the point on that line. */
  readonly setting: string
  readonly archive: (folder: string) => Promise<Measured & { readonly size: number }>
}

export const nameOf = ({ family, setting }: Pick<Contender, "family" | "setting">): string => `${family} ${setting}`

/** zipper at a level, as a first run into an empty target. */
export const zipper = (level: number): Contender => ({
  family: "zipper",
  setting: String(level),
  archive: async (folder) => {
    const { config, zip } = configure(emptied("frontier"), folder, { compression: { level } })
    const measured = await run(config)
    return { ...measured, size: statSync(zip).size }
  }
})

/** `zipper run`, into a target that may have archives. */
export const run = (config: string, options: MeasureOptions = {}): Promise<Measured> =>
  measure(process.execPath, [built, "run", "--quiet", "--config", config], options)

interface Peer {
  readonly needs: ReadonlyArray<string>
  readonly settings: ReadonlyArray<string>
  /** The archive's name. */
  readonly out: string
  /** In the folder: writes the archive `$OUT`, with what was set in `$SET`. */
  readonly write: string
  readonly test: string
}

const peerOf = (family: string, { needs, out, settings, test, write }: Peer): ReadonlyArray<Contender> => {
  if (!needs.every(installed)) return []
  const script = `cd "$1"; OUT="$2/${out}" SET="$3"; ${write}; cd "$2"; ${test}; md5sum ${out} > ${out}.md5; sha256sum ${out} > ${out}.sha256`
  return settings.map((setting) => ({
    family,
    setting,
    archive: async (folder) => {
      const place = emptied("frontier")
      const measured = await measure("bash", ["-eo", "pipefail", "-c", script, "bash", folder, place, setting])
      const { size } = statSync(join(place, out))
      rmSync(place, { recursive: true })
      return { ...measured, size }
    }
  }))
}

/** The job that zipper replaces: zipfile, testzip, hashlib. */
const python = `
import hashlib, os, sys, zipfile
out, level = sys.argv[1], int(sys.argv[2].lstrip("-"))
with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as z:
    for root, dirs, files in os.walk("."):
        for name in files:
            path = os.path.join(root, name)
            z.write(path, os.path.relpath(path, "."))
with zipfile.ZipFile(out) as z:
    assert z.testzip() is None
`

// Not the shim of a version manager, which takes longer than many an archive.
const pythonPath = (): string =>
  spawnSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" }).stdout?.trim() || "python3"

/** Those that are installed. */
export const peers = (): ReadonlyArray<Contender> => [
  ...peerOf("zip", {
    needs: ["zip", "unzip"],
    settings: ["-1", "-6", "-9"],
    out: "out.zip",
    write: 'zip -qr "$SET" "$OUT" .',
    test: "unzip -tqq out.zip"
  }),
  ...peerOf("7zz", {
    needs: ["7zz"],
    settings: ["-mx=1", "-mx=3", "-mx=5"],
    out: "out.zip",
    write: '7zz a -tzip "$SET" -bso0 -bsp0 "$OUT" .',
    test: "7zz t -bso0 -bsp0 out.zip"
  }),
  ...peerOf("bsdtar", {
    needs: ["bsdtar"],
    settings: ["-6"],
    out: "out.zip",
    write: 'bsdtar --format zip -cf "$OUT" .',
    test: "bsdtar -xOf out.zip > /dev/null"
  }),
  ...peerOf("python", {
    needs: ["python3"],
    settings: ["-6"],
    out: "out.zip",
    write: `${pythonPath()} -c '${python}' "$OUT" "$SET"`,
    test: "true"
  }),
  ...peerOf("tar+pigz", {
    needs: ["pigz", "unzip"],
    settings: ["-1", "-6"],
    out: "out.zip",
    write: 'tar -cf - . | pigz -K "$SET" > "$OUT"',
    test: "unzip -tqq out.zip"
  }),
  ...peerOf("tar+igzip", {
    needs: ["igzip"],
    settings: ["-1", "-3"],
    out: "out.gz",
    write: 'tar -cf - . | igzip "$SET" -T "$(nproc)" -c > "$OUT"',
    test: "igzip -t out.gz"
  })
]

/** What the peers do not do alike. */
export const unlike =
  "tar+pigz and tar+igzip pack one tar, so that a file cannot be read alone: pigz -K as the only entry of a zip, igzip as gzip. Only zipper syncs"
