import { spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { makePlace, run, zipper } from "../support/program/built.ts"
import { noise } from "../support/zip/archive.ts"

/** A process whose files cannot grow beyond 2 MiB: what a full disk does, without one. */
const runLimited = (...args: ReadonlyArray<string>) =>
  spawnSync("sh", ["-c", 'ulimit -f 4096; exec "$@"', "sh", process.execPath, zipper, ...args], {
    encoding: "utf8",
    env: { PATH: "/usr/bin:/bin", LANG: "C" }
  })

describe("when there is no room for what several threads write", () => {
  it("every folder fails by name, keeps its archive, and nothing is left behind", async () => {
    const at = makePlace({ max_workers: 2, compression: { threads: 2 } })
    try {
      for (const folder of ["AAAA", "BBBB"]) at.put(`${folder}/file`, "small")
      assert.strictEqual((await run(["run", "--config", at.config])).status, 0)
      const before = ["AAAA", "BBBB"].map((name) => readFileSync(join(at.target, name, `${name}.zip`)))
      const files = readdirSync(at.target, { recursive: true, encoding: "utf8" }).sort()

      for (const folder of ["AAAA", "BBBB"]) at.put(`${folder}/large`, noise(5_000_000))
      const { status, stderr } = runLimited("run", "--config", at.config)
      assert.strictEqual(status, 1, stderr)
      for (const [index, name] of ["AAAA", "BBBB"].entries()) {
        assert.match(stderr, new RegExp(`${name}: cannot write .*${name}\\.zip: .*too large`, "i"))
        assert.isTrue(readFileSync(join(at.target, name, `${name}.zip`)).equals(before[index] ?? Buffer.alloc(0)))
        assert.isFalse(existsSync(join(at.target, name, ".publish")))
      }
      const ofFailures = /^\.zipper\/(failures|standing\/archive\.alerts)/
      const after = readdirSync(at.target, { recursive: true, encoding: "utf8" }).sort()
      assert.deepStrictEqual(
        after.filter((file) => !ofFailures.test(file)),
        files.filter((file) => !ofFailures.test(file))
      )
    } finally {
      at.remove()
    }
  })

  // In a mount namespace of its own, which needs no root where the kernel lets users have one.
  const mounting = spawnSync("unshare", ["-rm", "mount", "--version"]).status === 0

  it.skipIf(!mounting)("on a disk that is really full", () => {
    const at = makePlace({ max_workers: 2, compression: { threads: 2 } })
    try {
      for (const folder of ["AAAA", "BBBB"]) at.put(`${folder}/file`, noise(1_000_000))
      const { status, stderr, stdout } = spawnSync(
        "unshare",
        ["-rm", "sh", "-c", onFullDisk, "sh", at.target, at.source, process.execPath, zipper, at.config],
        { encoding: "utf8", env: { PATH: "/usr/bin:/bin", LANG: "C" } }
      )
      assert.strictEqual(status, 0, stdout + stderr)
      assert.match(stdout, /^status 1$/m)
      assert.match(stderr, /AAAA: .*no space left on the device.*free some space/)
      assert.match(stderr, /BBBB: .*no space left on the device.*free some space/)
      // Afterwards there is room again, and both are archived.
      assert.match(stdout, /2 archived, 0 unchanged, 0 failed/)
    } finally {
      at.remove()
    }
  })

  it.skipIf(!mounting)("a restore tells a full disk from one that has no inodes left", async () => {
    const at = makePlace()
    try {
      for (let i = 0; i < 60; i++) at.put(`AAAA/f${i}`, "small")
      assert.strictEqual((await run(["run", "--config", at.config])).status, 0)
      const script = 'mount -t tmpfs -o "$1" none "$2" && "$3" "$4" restore AAAA --to "$2/to" --config "$5"'
      const restoreTo = (size: string) => {
        const args = [size, at.source, process.execPath, zipper, at.config]
        return spawnSync("unshare", ["-rm", "sh", "-c", script, "sh", ...args], {
          encoding: "utf8",
          env: { PATH: "/usr/bin:/bin", LANG: "C" }
        })
      }
      const noInodes = /f\d+: the file system has space left, but no inodes for more files \(ENOSPC\)/
      const many = restoreTo("nr_inodes=30,size=4m")
      assert.match(many.stderr, noInodes)
      const full = restoreTo("size=40k")
      assert.match(full.stderr, /f\d+: no space left on the device \(ENOSPC\)/)
      assert.deepStrictEqual([many.status, full.status], [1, 1])
    } finally {
      at.remove()
    }
  })
})

describe.skipIf(!existsSync("/dev/full"))("when standard output takes nothing", () => {
  const intoFull = (...args: ReadonlyArray<string>) =>
    spawnSync("sh", ["-c", '"$@" > /dev/full', "sh", process.execPath, zipper, ...args], { encoding: "utf8" })

  it.each([[["--version"]], [["--completions", "bash"]], [["run", "--help"]], [["schema", "status"]]])(
    "%s fails with one line",
    (args) => {
      const { status, stderr } = intoFull(...args)
      assert.strictEqual(status, 1)
      assert.match(stderr, /^.*cannot write to standard output: no space left on the device \(ENOSPC\)\n$/)
    }
  )

  it("a run says it once and goes on; a result that is in no other place is lost: a failure", () => {
    const place = makePlace()
    try {
      place.put("ABCD/a.txt", "one")
      const said = (wanted: number, command: string, ...args: ReadonlyArray<string>) => {
        const { status, stderr } = intoFull(command, ...args, "--config", place.config)
        assert.strictEqual(status, wanted, [command, ...args].join(" "))
        assert.strictEqual(stderr.match(/cannot write to standard output/g)?.length, 1, stderr)
      }
      said(0, "run")
      said(1, "run", "--dry-run")
      said(1, "verify")
      said(1, "restore", "ABCD", "--to", join(place.root, "back"), "--dry-run")
      said(1, "restore", "ABCD", "--to", join(place.root, "back"))
      said(1, "config", "validate")
      said(1, "check")
    } finally {
      place.remove()
    }
  })
})

/** A target of 8 MB: a first run fits, a second does not, and must leave what is there as it is. */
const onFullDisk = `
set -e
target=$1 source=$2; shift 2
mount -t tmpfs -o size=8m none "$target"
"$1" "$2" run --config "$3" --quiet
whole() { for folder in AAAA BBBB; do (cd "$target/$folder" && sha256sum --quiet -c *.sha256 && md5sum --quiet -c *.md5); done; }
# The records of failures and of runs are about what went wrong.
names() { (cd "$target" && find . -path ./.zipper -prune -o -print | sort); }
before=$(names)
for folder in AAAA BBBB; do head -c 6000000 /dev/urandom > "$source/$folder/large"; done
rc=0; "$1" "$2" run --config "$3" --quiet || rc=$?
echo "status $rc"
whole
[ "$before" = "$(names)" ]
mount -o remount,size=64m "$target"
"$1" "$2" run --config "$3"
whole
`
