const systemFolders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]

/** PATH with the system's folders at the end: cron gives us one without sbin, where zfs is. */
export const searchPath = (path: string | undefined): string => {
  const given = (path ?? "").split(":").filter((folder) => folder !== "")
  return [...given, ...systemFolders.filter((folder) => !given.includes(folder))].join(":")
}
