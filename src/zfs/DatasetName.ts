const unsafe = /[\s\0-\x1f\x7f'"`$\\;&<>|(){}/@[\]]/

/** A user's name may hold an @, a host's does not. An IPv6 address may stand in brackets, which are not part of it. */
export const addressOf = (text: string): { readonly user: string | undefined; readonly host: string } => {
  const at = text.lastIndexOf("@")
  const host = text.slice(at + 1).replace(/^\[([^\]]*:[^\]]*)\]$/, "$1")
  return { user: at === -1 ? undefined : text.slice(0, at), host }
}

/** What is wrong with a name, in words to go after it. A host is what ssh takes, and nothing that a shell acts on. */
export const hostProblem = (text: string): string | undefined => {
  const { host, user } = addressOf(text)
  if (host === "") return "names no host"
  if (host.startsWith("-")) return "names a host that begins with a dash, which ssh would take for an option"
  const [, port] = /^(?:[^:]*|\[.*\]):([0-9]{1,5})$/.exec(host) ?? []
  if (port !== undefined)
    return `ends in a port, which is an option of its own: --port ${port}, in a configuration "port": ${port}`
  if (host.length > 255 || unsafe.test(host)) {
    return "is no host name, address or ssh alias; a path does not belong to it"
  }
  const wrong = user === undefined ? undefined : userProblem(user)
  return wrong === undefined ? undefined : `names a user that ${wrong}`
}

export const userProblem = (user: string): string | undefined => {
  if (user === "") return "is empty"
  if (user.startsWith("-")) return "begins with a dash, which ssh would take for an option"
  return user.length > 64 || /[\s\0-\x1f\x7f'"`$;&<>|(){}/:]|\\$/.test(user) ? "is no user name" : undefined
}

export const sshOptionProblem = (option: string): string | undefined => {
  if (option.startsWith("-")) return 'begins with a dash; give what goes after -o, such as "Compression=yes"'
  return /^[A-Za-z][A-Za-z0-9]*(?: *= *| +)[^\s\0-\x1f][^\0-\x1f]*$/.test(option)
    ? undefined
    : 'is no ssh option; expected KEY=VALUE, such as "IdentityFile=/root/.ssh/backup"'
}

/** Of a dataset, and of one with the `@` and the name of a snapshot. */
export const longestName = 255

/** By the rules of OpenZFS (zfs(8), dataset_namecheck). */
export const datasetProblem = (name: string): string | undefined => {
  if (name === "") return "is empty"
  if (name.length > longestName) return `is longer than ${longestName} characters`
  if (name.startsWith("/")) return "is a path; give the dataset, which zfs list -H -o name PATH prints"
  if (/^[^/@]+@[^/@]+:./.test(name)) return "names a host or a snapshot; give the dataset alone, and the host by itself"
  if (name.includes("@")) return "names a snapshot; give the dataset alone"
  if (name.includes("#")) return "names a bookmark; give the dataset alone"
  const stranger = /[^A-Za-z0-9_.: /-]/.exec(name)?.[0]
  if (stranger !== undefined) {
    return `holds ${JSON.stringify(stranger)}, which no dataset's name can: letters, digits, space and _ - . : only`
  }
  const components = name.split("/")
  if (components.includes("")) return "has an empty part: no slash at the ends, no two in a row"
  if (components.some((part) => part === "." || part === "..")) return 'has a part that is "." or ".."'
  return /^[A-Za-z]/.test(name) ? undefined : "does not begin with the name of a pool"
}

/** What comes after the `@` of a snapshot or the `#` of a bookmark. */
export const isShortName = (name: string): boolean => /^[A-Za-z0-9_.: -]{1,255}$/.test(name)

export const isSnapshot = (name: string): boolean => {
  const at = name.indexOf("@")
  return at !== -1 && datasetProblem(name.slice(0, at)) === undefined && isShortName(name.slice(at + 1))
}

/** Whether `dataset` is `ancestor` or lies below it; `tank/aa` does not lie below `tank/a`. */
export const isWithin = (dataset: string, ancestor: string): boolean =>
  dataset === ancestor || dataset.startsWith(`${ancestor}/`)

/** Undefined for a pool. */
export const parentOf = (dataset: string): string | undefined => {
  const slash = dataset.lastIndexOf("/")
  return slash === -1 ? undefined : dataset.slice(0, slash)
}

/** The datasets above, from the pool down. */
export const ancestorsOf = (dataset: string): ReadonlyArray<string> => {
  const parts = dataset.split("/")
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"))
}

export const poolOf = (dataset: string): string => dataset.split("/", 1)[0] ?? dataset
