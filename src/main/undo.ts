/** How to stop what has been started; used from the last to the first. */
export type Undo = (() => Promise<void> | void)[]
