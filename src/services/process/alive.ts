import * as Errno from "../../domain/Errno.ts"

/** Whether there is a process with this pid, of whatever user. */
export const isRunning = (pid: number): boolean => {
  try {
    // 0 would ask for our own process group.
    return pid > 0 && process.kill(pid, 0)
  } catch (cause) {
    return Errno.codeOf(cause) === "EPERM"
  }
}
