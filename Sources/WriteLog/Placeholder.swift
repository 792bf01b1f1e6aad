// WriteLog
