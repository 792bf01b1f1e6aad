// SiteLoader
