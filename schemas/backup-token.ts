/** The file in the directory of a backup that says that whoever asks for it may write there. */
export const backupToken = 'backup-token'
