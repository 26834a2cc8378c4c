/** Set by the build, from package.json. */
export const version = process.env.ZIPPER_VERSION ?? "0.0.0-source"
