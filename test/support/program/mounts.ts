import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

/** Whether this process may mount file systems: it is root on Linux, and not in a container that forbids it. */
export const canMount =
  process.platform === "linux" &&
  process.getuid?.() === 0 &&
  (() => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), "zipper-mount-"))
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", dir], { stdio: "ignore" })
      execFileSync("umount", [dir])
      return true
    } catch {
      return false
    } finally {
      fs.rmdirSync(dir)
    }
  })()
