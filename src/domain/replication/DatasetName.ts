/**
 * Names of datasets, by the rules of OpenZFS (zfs(8), dataset_namecheck): components of letters, digits and
 * `_ - . :` and space, joined by slashes, 255 bytes in all; the first one, the pool, begins with a letter.
 */

const maxLength = 255

/** What is wrong with it as the name of a file system or volume, to go after the name; undefined when it is one. */
export const problem = (name: string): string | undefined => {
  if (name === "") return "is empty"
  if (name.length > maxLength) return `is longer than ${maxLength} characters`
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

/** Whether a snapshot, or a bookmark, can be called that: what comes after the `@` or `#`. */
export const isShortName = (name: string): boolean => /^[A-Za-z0-9_.: -]{1,255}$/.test(name)

/** Whether it is the full name of a snapshot. */
export const isSnapshot = (name: string): boolean => {
  const at = name.indexOf("@")
  return at !== -1 && problem(name.slice(0, at)) === undefined && isShortName(name.slice(at + 1))
}

/** Whether `dataset` is `ancestor` or lies below it; `tank/aa` does not lie below `tank/a`. */
export const isWithin = (dataset: string, ancestor: string): boolean =>
  dataset === ancestor || dataset.startsWith(`${ancestor}/`)

/** The dataset above; undefined for a pool. */
export const parentOf = (dataset: string): string | undefined => {
  const slash = dataset.lastIndexOf("/")
  return slash === -1 ? undefined : dataset.slice(0, slash)
}

/** The datasets above, from the pool down. */
export const ancestorsOf = (dataset: string): ReadonlyArray<string> => {
  const parts = dataset.split("/")
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"))
}

/** The pool. */
export const poolOf = (dataset: string): string => dataset.split("/", 1)[0] ?? dataset
