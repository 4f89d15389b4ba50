/** The conversation of the room in view. */
export { Conversation } from './conversation'
export { COMPOSER_ID, LOG_ID } from './focus'
