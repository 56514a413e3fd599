import type { PipelineContext } from '../pipeline/context.js'
import type { Tasks } from '../platform/jobs.js'
import { observe } from './observe.js'

/** What is done to tell administrators. */
export function notificationTasks(context: PipelineContext): Pick<Tasks, 'notify' | 'observe'> {
  return {
    notify: ({ notification }, job) => context.notifier.send(notification, context.endpoints.notifications, job),
    observe: () => observe(context),
  }
}
