def navigation(folder): return []
def pages(folder): return {}
